import assert from "node:assert/strict";
import { test } from "node:test";
import { SessionKeeper } from "../src/session.ts";
import { RelayError } from "../src/wire.ts";
import { Device } from "./device.ts";

const refusal = (type: string) => new RelayError(403, type, "No.", 0);

/** Two tabs of one browser that are in the same session, and what the second hears from then on. */
function tabs(): [SessionKeeper, SessionKeeper, string[]] {
  const device = new Device();
  const first = new SessionKeeper(device.store());
  const second = new SessionKeeper(device.store());
  first.enter("a", "token-of-a");
  second.sync();
  const heard: string[] = [];
  for (const name of ["change", "forget"]) second.addEventListener(name, () => heard.push(name));
  return [first, second, heard];
}

test("a session that is another visitor's is forgotten in every tab", () => {
  const [first, second, heard] = tabs();
  first.leave("token-of-a", refusal("other_visitor"));
  second.sync();
  assert.deepEqual(heard, ["change", "forget"]);
});

test("so it is when the next session is there before the tab hears of it, and only once", () => {
  const [first, second, heard] = tabs();
  first.leave("token-of-a", refusal("other_visitor"));
  first.enter("b", "token-of-b");
  second.sync();
  first.enter("c", "token-of-c");
  second.sync();
  assert.deepEqual(heard, ["change", "forget", "change"]);
});

test("one that is refused otherwise stays in sight", () => {
  const [first, second, heard] = tabs();
  first.leave("token-of-a", refusal("forbidden"));
  second.sync();
  assert.deepEqual(heard, ["change"]);
});
