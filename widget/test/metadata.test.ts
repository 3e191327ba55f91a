import assert from "node:assert/strict";
import { test } from "node:test";
import { Device } from "./device.ts";

test("what goes along with a message stays with it until it is delivered", () => {
  const conversation = new Device().conversation();
  const metadata = { page: "/rye" };
  conversation.add("hi", metadata);
  const first = conversation.next()?.key ?? "";
  conversation.address(first, "s1");
  conversation.readdress(first);
  const second = conversation.next();
  assert.notEqual(second?.key, first);
  assert.deepEqual([second?.metadata, second?.addressee], [metadata, undefined]);

  conversation.fail(second?.key ?? "", "no");
  conversation.retry(second?.key ?? "");
  assert.deepEqual(conversation.next()?.metadata, metadata);
});
