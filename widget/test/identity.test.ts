import assert from "node:assert/strict";
import { test } from "node:test";
import { clock, device, relay, visit } from "./browser.ts";
import { type Fault, refuse } from "./fake-relay.ts";
import type { Page } from "./page.ts";
import { setXmlHttpRequest } from "./xhr.ts";

const POST = "POST /messages";
const OPEN = "POST /sessions";

setXmlHttpRequest();

const shownIdentities = (name = POST) => relay.called(name).map(({ body }) => body.identity);
const refuseIdentity: Fault = (_call, response) => {
  refuse(response, 401, "invalid_identity", "The identity has expired.");
  return true;
};

/** The sentences with which the page was asked for another token. */
function asked({ identity }: Page): unknown[] {
  const sentences: unknown[] = [];
  identity.addEventListener("refused", (event) => {
    if (event instanceof CustomEvent) sentences.push(event.detail);
  });
  return sentences;
}

test("a token is shown until a call with it has succeeded, and in the next session again", async () => {
  const page = visit();
  page.identity.token = "alice";
  relay.once(POST, (_call, response) => {
    response.destroy();
    return true;
  });
  page.chat.send("one");
  await clock.sleeping(1_000);
  clock.advance(1_000);
  await page.shows("one (sent)");
  page.chat.send("two");
  await page.shows("one (sent)", "two (sent)");
  assert.deepEqual(shownIdentities(), ["alice", "alice", undefined]);

  relay.tokens.clear();
  page.chat.send("three");
  await page.shows("one (sent)", "two (sent)", "three (sent)");
  assert.equal(shownIdentities().at(-1), "alice");
});

test("a token goes with the session that a file opens", async () => {
  const page = visit();
  page.identity.token = "alice";
  page.chat.attachments.add(new File(["rye"], "a.txt"));
  page.chat.send("look", undefined, page.chat.takeFiles());
  await page.shows("look (sent)");
  assert.deepEqual([shownIdentities(OPEN), shownIdentities()], [["alice"], [undefined]]);
});

test("what an identity was refused for waits, and the next one sends it", async () => {
  const page = visit();
  const sentences = asked(page);
  page.identity.token = "old";
  relay.once(POST, refuseIdentity);
  relay.once(POST, refuseIdentity);
  page.chat.send("one");
  page.chat.send("two");
  await page.shows("one (failed)", "two (failed)");
  assert.deepEqual(sentences, ["The identity has expired.", "The identity has expired."]);
  assert.equal(page.chat.conversation.rows[0]?.error, "The identity has expired.");
  page.identity.token = "new";
  await page.shows("one (sent)", "two (sent)");
  assert.deepEqual(shownIdentities(), ["old", undefined, "new", undefined]);
});

test("the next page sends it too, once it has an identity", async () => {
  const page = visit();
  relay.once(POST, refuseIdentity);
  page.chat.send("one");
  await page.shows("one (failed)");
  await page.chat.conversation.sync();
  page.leave();
  const [next, other] = [visit(), visit()];
  next.identity.token = "alice";
  other.identity.token = "alice";
  await next.shows("one (sent)");
  await other.shows();
  assert.deepEqual(shownIdentities(), [undefined, "alice"]);
});

test("a file waits for an identity as well", async () => {
  const page = visit();
  const sentences = asked(page);
  relay.once(OPEN, refuseIdentity);
  page.chat.attachments.add(new File(["rye"], "a.txt"));
  page.chat.send("look", undefined, page.chat.takeFiles());
  await clock.sleeping(1_000);
  assert.deepEqual(sentences, ["The identity has expired."]);
  page.identity.token = "alice";
  await page.shows("look (sent)");
  assert.deepEqual(relay.called(POST)[0]?.body.files, ["file-1"]);
});

test("somebody else on the device begins anew, and sees nothing of what was said", async () => {
  const page = visit();
  page.identity.token = "alice";
  page.chat.send("my secret");
  await page.shows("my secret (sent)");
  page.identity.token = "bob";
  relay.once(POST, (_call, response) => {
    refuse(response, 403, "other_visitor", "The session is of another visitor.");
    return true;
  });
  page.chat.send("hello");
  await page.shows("hello (sent)");
  const last = relay.called(POST).at(-1);
  assert.deepEqual([last?.body.session_id, last?.body.identity], [undefined, "bob"]);
  assert.equal(last?.headers.authorization, undefined, "nobody is told who was here before");
});

test("a token is stored nowhere", async () => {
  const page = visit();
  page.identity.token = "alice";
  relay.once(POST, refuseIdentity);
  page.chat.send("one");
  await page.shows("one (failed)");
  const unsent = device.unsent();
  await unsent.sync();
  assert(!JSON.stringify([unsent.all, device.storage.texts]).includes("alice"));
});
