import assert from "node:assert/strict";
import { test } from "node:test";
import { Store } from "../src/storage.ts";
import { clock, device, relay, visit } from "./browser.ts";
import { type Call, chunkEvent, type Fault, refuse, statusEvent } from "./fake-relay.ts";
import type { Page } from "./page.ts";

const POST = "POST /messages";
const TRANSCRIPT = "GET /sessions/{id}/messages";
const EVENTS = "GET /sessions/{id}/events";
const REPLIES = "GET /responses/{id}";
const CANCEL = "POST /messages/{id}/cancel";

async function openSession(page: Page): Promise<void> {
  page.chat.send("hi");
  await page.shows("hi (sent)");
  await relay.until(() => relay.streamCount === 1);
}

/** Lets calls that are on their way arrive: these set out later. Gives all that arrived. */
async function callsSoFar(): Promise<Call[]> {
  for (let trip = 0; trip < 3; trip++) await fetch(`${relay.address}/api/v1/mark`);
  return relay.calls.filter((call) => call.name !== "GET /mark");
}

const breakOff: Fault = (_call, response) => {
  response.destroy();
  return true;
};

/** The relay does what it was asked to, but nobody hears of it. */
const loseAnswer: Fault = (_call, response) => {
  response.end = () => response.destroy();
  return false;
};

/** What a firewall in front of the relay may say. */
const block: Fault = (_call, response) => {
  response.writeHead(403, { "Content-Type": "text/html" }).end("<h1>Blocked</h1>");
  return true;
};

function answerWith(status: number, type: string, sentence: string, retryAfter?: number): Fault {
  return (_call, response) => {
    refuse(response, status, type, sentence, retryAfter);
    return true;
  };
}

function keys(calls: Call[]): unknown[] {
  return calls.map((call) => call.headers["idempotency-key"]);
}

test("a page without a session makes no call", async () => {
  visit();
  assert.deepEqual(await callsSoFar(), []);
});

test("the first message opens a session, and the reply is pushed", async () => {
  const page = visit();
  await openSession(page);
  const [post] = relay.called(POST);
  assert.deepEqual(post?.body, { message: "hi" });
  assert.equal(post?.headers.authorization, undefined);
  relay.say("session-1", "agent", "hello", 1);
  await page.shows("hi (sent)", "hello");
  assert.match(String(relay.called(EVENTS)[0]?.headers.authorization), /^Bearer token-session-1/);
});

test("messages go out one after another, and only the first opens the session", async () => {
  const page = visit();
  let isOpen = true;
  for (const text of ["a", "b", "c"]) {
    relay.once(POST, () => {
      assert.ok(isOpen, "one call at a time");
      isOpen = false;
      setImmediate(() => {
        isOpen = true;
      });
      return false;
    });
    page.chat.send(text);
  }
  await page.shows("a (sent)", "b (sent)", "c (sent)");
  const bodies = relay.called(POST).map((call) => call.body);
  assert.deepEqual(bodies, [
    { message: "a" },
    { session_id: "session-1", message: "b" },
    { session_id: "session-1", message: "c" },
  ]);
  assert.deepEqual(
    relay.entries.map((entry) => entry.text),
    ["a", "b", "c"],
  );
});

test("a reload restores the conversation and goes on from its end", async () => {
  const page = visit();
  await openSession(page);
  relay.say("session-1", "agent", "hello", 1);
  await page.shows("hi (sent)", "hello");
  page.leave();
  await relay.until(() => relay.streamCount === 0);
  relay.say("session-1", "agent", "while you were away");
  const next = visit();
  await next.shows("hi (sent)", "hello", "while you were away");
  await relay.until(() => relay.streamCount === 1);
  assert.equal(relay.called(EVENTS).at(-1)?.headers["last-event-id"], "3");
});

test("a lost answer is asked for again with the same key and body, and stored once", async () => {
  const page = visit();
  relay.once(POST, loseAnswer);
  page.chat.send("hi");
  await clock.sleeping(1_000);
  clock.advance(1_000);
  await page.shows("hi (sent)");
  const posts = relay.called(POST);
  assert.equal(posts.length, 2);
  assert.equal(new Set(keys(posts)).size, 1);
  assert.deepEqual(posts[0]?.body, posts[1]?.body);
  assert.equal(relay.entries.length, 1);
  await relay.until(() => relay.streamCount === 1);
});

test("an unsent message goes out once after a reload, with its key", async () => {
  const page = visit();
  relay.once(POST, loseAnswer);
  page.chat.send("hi");
  await clock.sleeping(1_000);
  page.leave();
  const next = visit();
  await next.shows("hi (sending)");
  await next.shows("hi (sent)");
  assert.equal(new Set(keys(relay.called(POST))).size, 1);
  assert.equal(relay.entries.length, 1);
});

test("two tabs with one storage send a message once", async () => {
  relay.once(POST, answerWith(503, "unavailable", "Not now.", 1));
  const page = visit();
  page.chat.send("hi");
  await clock.sleeping(2_000);
  const other = visit();
  await other.shows("hi (sent)");
  clock.advance(2_000);
  page.chat.sync(null);
  await page.shows("hi (sent)");
  assert.equal(relay.entries.length, 1);
  assert.equal(relay.called(POST).length, 2);
});

test("429 is retried by itself, not before the time the relay named", async () => {
  const page = visit();
  relay.once(POST, answerWith(429, "rate_limited", "Too many.", 7));
  page.chat.send("hi");
  const delay = await clock.sleeping(7_000, 9_000);
  assert.equal(delay, 8_000);
  clock.advance(6_999);
  assert.equal((await callsSoFar()).filter((call) => call.name === POST).length, 1);
  assert.deepEqual(page.shown, ["hi (sending)"]);
  assert.equal(page.chat.conversation.delay?.message, "Too many.");
  clock.advance(1_001);
  await page.shows("hi (sent)");
  assert.equal(page.chat.conversation.delay, undefined);
  assert.equal(new Set(keys(relay.called(POST))).size, 1);
});

test("the network's return ends the wait", async () => {
  const page = visit();
  relay.once(POST, breakOff);
  page.chat.send("hi");
  await clock.sleeping(1_000);
  page.chat.wake();
  await page.shows("hi (sent)");
});

test("a refused message fails with the relay's sentence, and a retry has a new key", async () => {
  const page = visit();
  relay.once(POST, answerWith(413, "payload_too_large", "The message is too long."));
  page.chat.send("hi");
  await page.shows("hi (failed)");
  const [row] = page.chat.conversation.rows;
  assert.equal(row?.error, "The message is too long.");
  page.chat.retry(String(row?.name));
  await page.shows("hi (sent)");
  assert.equal(new Set(keys(relay.called(POST))).size, 2);
});

test("a proxy's 403 page is no reason to leave the session", async () => {
  const page = visit();
  await openSession(page);
  relay.once(POST, block);
  relay.once(EVENTS, block);
  relay.cutStreams();
  await clock.sleeping(1_000);
  clock.advance(1_000);
  await relay.until(() => relay.called(EVENTS).length === 2);
  await clock.sleeping(1_000, 2_000);
  clock.advance(2_000);
  await relay.until(() => relay.streamCount + relay.holdCount === 1);
  page.chat.send("more");
  await relay.until(() => relay.called(POST).length === 2);
  await clock.sleeping(1_000);
  clock.advance(1_000);
  await page.shows("hi (sent)", "more (sent)");
  assert.equal(relay.called(POST).at(-1)?.body.session_id, "session-1");
});

test("after a 401 the message opens a new session, without the token", async () => {
  const page = visit();
  await openSession(page);
  relay.once(POST, answerWith(401, "unauthorized", "The token is not good."));
  page.chat.send("still there?");
  await page.shows("hi (sent)", "still there? (sent)");
  const [, refused, opening] = relay.called(POST);
  assert.equal(refused?.body.session_id, "session-1");
  assert.deepEqual(opening?.body, { message: "still there?" });
  assert.equal(opening?.headers.authorization, undefined);
  assert.equal(new Set(keys(relay.called(POST))).size, 3, "another body takes another key");
  await relay.until(() => relay.streams.join() === "session-2");
  relay.say("session-2", "agent", "yes", 2);
  await page.shows("hi (sent)", "still there? (sent)", "yes");
});

test("after a 403 the new session is opened with the earlier token", async () => {
  const page = visit();
  await openSession(page);
  relay.once(POST, answerWith(403, "forbidden", "Not your session."));
  page.chat.send("still there?");
  await page.shows("hi (sent)", "still there? (sent)");
  const opening = relay.called(POST).at(-1);
  assert.deepEqual(opening?.body, { message: "still there?" });
  assert.equal(opening?.headers.authorization, relay.called(POST)[1]?.headers.authorization);
});

test("an earlier token that opens nothing is dropped", async () => {
  const page = visit();
  await openSession(page);
  relay.once(POST, answerWith(403, "forbidden", "Not your session."));
  relay.once(POST, answerWith(403, "forbidden", "Not your token."));
  page.chat.send("still there?");
  await page.shows("hi (sent)", "still there? (sent)");
  assert.equal(relay.called(POST).at(-1)?.headers.authorization, undefined);
});

test("an unsent message whose session is over opens a new one, under a new key", async () => {
  const page = visit();
  await openSession(page);
  relay.once(POST, breakOff);
  page.chat.send("more");
  await clock.sleeping(1_000);
  page.leave();
  new Store(relay.address, undefined, device.storage).session = undefined;
  const next = visit();
  await next.shows("more (sent)");
  const [, first, last] = relay.called(POST);
  assert.deepEqual([first?.body.session_id, last?.body.session_id], ["session-1", undefined]);
  assert.equal(new Set(keys([first, last] as Call[])).size, 2);
});

test("a repeat stays the same though another session was opened meanwhile", async () => {
  const page = visit();
  relay.once(POST, loseAnswer);
  page.chat.send("hi");
  await clock.sleeping(1_000);
  relay.tokens.set("other", "secret");
  new Store(relay.address, undefined, device.storage).session = { id: "other", token: "secret" };
  clock.advance(1_000);
  await page.shows("hi (sent)");
  assert.deepEqual(relay.called(POST)[1]?.body, { message: "hi" });
  assert.equal(relay.entries.length, 1);
});

test("a relay that refuses even to open a session is not asked for ever", async () => {
  const page = visit();
  relay.once(POST, answerWith(403, "forbidden", "This page may not."));
  page.chat.send("hi");
  await page.shows("hi (failed)");
  assert.equal(relay.called(POST).length, 1);
});

test("a session that is refused at restoring is left, and the next message opens one", async () => {
  const page = visit();
  await openSession(page);
  page.leave();
  relay.tokens.set("session-1", "another");
  const next = visit();
  await relay.until(() => relay.called(TRANSCRIPT).length === 2);
  next.chat.send("hello?");
  await next.shows("hello? (sent)");
  assert.equal(relay.called(POST).at(-1)?.body.session_id, undefined);
});

test("a stream that is cut goes on where it was, with nothing lost or repeated", async () => {
  const page = visit();
  await openSession(page);
  relay.say("session-1", "agent", "one", 1);
  await page.shows("hi (sent)", "one");
  relay.cutStreams();
  await relay.until(() => relay.streamCount === 0);
  relay.say("session-1", "agent", "two");
  await clock.sleeping(1_000);
  clock.advance(1_000);
  await page.shows("hi (sent)", "one", "two");
  assert.equal(relay.called(EVENTS).at(-1)?.headers["last-event-id"], "2");
  assert.equal(relay.called(REPLIES).length, 0, "a cut is no reason to poll");
});

test("events of a kind not known yet, and comments, do no harm", async () => {
  const page = visit();
  await openSession(page);
  relay.write(": still here\n\nevent: weather\ndata: not even JSON\n\n");
  relay.say("session-1", "agent", "hello", 1);
  await page.shows("hi (sent)", "hello");
});

test("forty seconds without a byte mean a dead stream", async () => {
  const page = visit();
  await openSession(page);
  await clock.sleeping(40_000);
  clock.advance(40_000);
  await relay.until(() => relay.streamCount === 0);
  await clock.sleeping(1_000);
  clock.advance(1_000);
  await relay.until(() => relay.streamCount === 1);
  assert.equal(relay.called(EVENTS).length, 2);
});

test("a reply is shown as it is written, and its whole in the end", async () => {
  const page = visit();
  await openSession(page);
  relay.write(statusEvent({ host: "connected", message_id: 1, state: "working" }));
  relay.write(chunkEvent({ message_id: 1, offset: 0, text: "good " }));
  await page.shows("hi (sent)", "good ");
  relay.write(chunkEvent({ message_id: 1, offset: 5, text: "mor" }));
  await page.shows("hi (sent)", "good mor");
  relay.say("session-1", "agent", "good morning", 1);
  await page.shows("hi (sent)", "good morning");
  assert.equal(page.activity.awaited, undefined);
});

test("a stream that is cut in the middle of a reply goes on with the whole of it", async () => {
  const page = visit();
  await openSession(page);
  relay.write(chunkEvent({ message_id: 1, offset: 0, text: "good " }));
  await page.shows("hi (sent)", "good ");
  relay.opening =
    statusEvent({ host: "connected", message_id: 1, state: "working" }) +
    chunkEvent({ message_id: 1, offset: 0, text: "good mor" });
  relay.cutStreams();
  await clock.sleeping(1_000);
  assert.deepEqual(page.shown, ["hi (sent)", "good "]);
  clock.advance(1_000);
  await page.shows("hi (sent)", "good mor");
});

test("a stream that leaves something out is opened anew", async () => {
  const page = visit();
  await openSession(page);
  relay.write(chunkEvent({ message_id: 1, offset: 0, text: "good " }));
  relay.opening = chunkEvent({ message_id: 1, offset: 0, text: "good morning" });
  relay.write(chunkEvent({ message_id: 1, offset: 8, text: "ning" }));
  await clock.sleeping(1_000);
  assert.deepEqual(page.shown, ["hi (sent)", "good "]);
  await relay.until(() => relay.streamCount === 0);
  clock.advance(1_000);
  await page.shows("hi (sent)", "good morning");
});

test("what the relay told holds until a stream cannot be opened", async () => {
  const page = visit();
  await openSession(page);
  relay.write(statusEvent({ host: "away", message_id: 1, state: "working", progress: "Hm" }));
  await page.until(() => page.activity.isHostAway);
  relay.once(EVENTS, breakOff);
  relay.once(REPLIES, breakOff);
  relay.cutStreams();
  await clock.sleeping(1_000);
  assert.equal(page.activity.progress, "Hm");
  clock.advance(1_000);
  await page.until(() => !page.activity.isHostAway);
  assert.deepEqual([page.activity.awaited, page.activity.progress], [1, undefined]);
});

test("while polling, nothing is left of a draft or of what the relay told", async () => {
  const page = visit();
  await openSession(page);
  relay.write(statusEvent({ host: "away", message_id: 1, state: "working" }));
  relay.write(chunkEvent({ message_id: 1, offset: 0, text: "good " }));
  await page.shows("hi (sent)", "good ");
  relay.greeting = "";
  relay.cutStreams();
  await clock.sleeping(1_000);
  clock.advance(1_000);
  await relay.until(() => relay.streamCount === 1);
  await clock.sleeping(10_000);
  clock.advance(10_000);
  await page.shows("hi (sent)");
  assert.deepEqual([page.activity.awaited, page.activity.isHostAway], [1, false]);
  await clock.sleeping(1_000);
  clock.advance(1_000);
  await relay.until(() => relay.holdCount === 1);
  relay.say("session-1", "agent", "good morning", 1);
  await page.shows("hi (sent)", "good morning");
});

test("a reply is stopped once, with the session's token, and shows what was written", async () => {
  const page = visit();
  await openSession(page);
  relay.write(chunkEvent({ message_id: 1, offset: 0, text: "good " }));
  await page.shows("hi (sent)", "good ");
  page.chat.stop();
  assert.equal(page.activity.phase, "stopping");
  page.chat.stop();
  await relay.until(() => relay.called(CANCEL).length === 1);
  relay.sayStopped("session-1", "good mor", 1);
  await page.shows("hi (sent)", "good mor");
  assert.equal(page.chat.conversation.rows.at(-1)?.isStopped, true);
  assert.equal(page.activity.awaited, undefined);
  const [cancel, ...more] = (await callsSoFar()).filter((call) => call.name === CANCEL);
  assert.match(String(cancel?.headers.authorization), /^Bearer token-session-1/);
  assert.equal(more.length, 0);
});

test("a stop is repeated until the relay has answered for it", async () => {
  const page = visit();
  await openSession(page);
  relay.once(CANCEL, breakOff);
  relay.once(CANCEL, answerWith(503, "unavailable", "Not now.", 3));
  relay.once(CANCEL, loseAnswer);
  page.chat.stop();
  for (const delay of [1_000, 5_000]) {
    await clock.sleeping(delay);
    assert.equal(page.activity.phase, "stopping");
    clock.advance(delay);
  }
  await clock.sleeping(4_000);
  page.chat.wake();
  await relay.until(() => relay.called(CANCEL).length === 4);
  clock.advance(60_000);
  assert.equal((await callsSoFar()).filter((call) => call.name === CANCEL).length, 4);
});

for (const [status, type] of [
  [409, "already_answered"],
  [409, "dead_letter"],
  [404, "unknown_message"],
] as const) {
  test(`a stop that is refused as ${type} is over`, async () => {
    const page = visit();
    await openSession(page);
    relay.once(CANCEL, answerWith(status, type, "There is nothing to stop."));
    page.chat.stop();
    await page.until(() => page.activity.phase === "working");
    clock.advance(60_000);
    assert.equal((await callsSoFar()).filter((call) => call.name === CANCEL).length, 1);
  });
}

test("where nothing is awaited, there is nothing to stop", async () => {
  const page = visit();
  page.chat.stop();
  await openSession(page);
  relay.say("session-1", "agent", "hello", 1);
  await page.shows("hi (sent)", "hello");
  page.chat.stop();
  assert.equal((await callsSoFar()).filter((call) => call.name === CANCEL).length, 0);
});

test("an unknown cursor reloads the transcript", async () => {
  const page = visit();
  await openSession(page);
  relay.write(statusEvent({ host: "away", message_id: 1, state: "waiting" }));
  await page.until(() => page.activity.isHostAway);
  relay.once(EVENTS, answerWith(400, "unknown_cursor", "The cursor is not known."));
  relay.cutStreams();
  for (let tries = 0; tries < 2; tries++) {
    await clock.sleeping(1_000, 2_000);
    clock.advance(2_000);
    await relay.until(() => relay.called(EVENTS).length > tries + 1);
  }
  await relay.until(() => relay.streamCount === 1);
  assert.equal(relay.called(TRANSCRIPT).length, 2);
  assert.equal(page.activity.isHostAway, false);
  relay.say("session-1", "agent", "hello", 1);
  await page.shows("hi (sent)", "hello");
});

test("a proxy that buffers the stream leads to long polling, and the stream is tried again", async () => {
  const page = visit();
  relay.greeting = "";
  page.chat.send("hi");
  await relay.until(() => relay.streamCount === 1);
  await clock.sleeping(10_000);
  clock.advance(10_000);
  await clock.sleeping(1_000);
  clock.advance(1_000);
  await relay.until(() => relay.holdCount === 1);
  relay.say("session-1", "agent", "hello", 1);
  await page.shows("hi (sent)", "hello");
  await relay.until(() => relay.holdCount === 1);
  assert.equal(relay.called(REPLIES).at(-1)?.query.get("after"), "2");

  relay.greeting = ": hello\n\n";
  clock.advance(5 * 60_000);
  await clock.sleeping(1_000, 2_000);
  clock.advance(2_000);
  await relay.until(() => relay.streamCount === 1);
});

test("a stream that fails twice while polling works leads to long polling", async () => {
  const page = visit();
  relay.once(EVENTS, breakOff);
  relay.once(EVENTS, answerWith(502, "", "Bad gateway."));
  page.chat.send("hi");
  await relay.until(() => relay.called(REPLIES).length === 1);
  await clock.sleeping(1_000);
  clock.advance(1_000);
  await relay.until(() => relay.called(EVENTS).length === 2);
  await clock.sleeping(1_000);
  clock.advance(1_000);
  await relay.until(() => relay.holdCount === 1);
  relay.say("session-1", "agent", "hello", 1);
  await page.shows("hi (sent)", "hello");
  assert.equal(relay.called(EVENTS).length, 2);
});

test("a network that is down for all calls does not lead to long polling", async () => {
  const page = visit();
  for (let tries = 0; tries < 2; tries++) {
    relay.once(EVENTS, breakOff);
    relay.once(REPLIES, breakOff);
  }
  page.chat.send("hi");
  for (const delay of [1_000, 2_000]) {
    await clock.sleeping(delay);
    clock.advance(delay);
  }
  await relay.until(() => relay.streamCount === 1);
  assert.equal(relay.called(EVENTS).length, 3);
});

test("earlier pages are loaded from the oldest entry on", async () => {
  const page = visit();
  await openSession(page);
  for (let number = 2; number <= 60; number++) relay.say("session-1", "agent", `${number}`);
  page.leave();
  const next = visit();
  await next.shows(...Array.from({ length: 50 }, (_, index) => `${index + 11}`));
  assert.equal(next.chat.conversation.hasEarlier, true);
  await next.chat.loadEarlier();
  assert.equal(relay.called(TRANSCRIPT).at(-1)?.query.get("before"), "11");
  assert.equal(next.shown.length, 60);
  assert.equal(next.chat.conversation.hasEarlier, false);
});

test("a tab takes up the session that another tab opened", async () => {
  const page = visit();
  const other = visit();
  await openSession(page);
  other.chat.sync("another script's key");
  await other.shows();
  other.chat.sync(`postern:${relay.address}:session`);
  await other.shows("hi (sent)");
});

test("nothing runs on for a page that was left", async () => {
  const page = visit();
  await openSession(page);
  relay.once(POST, breakOff);
  page.chat.send("more");
  await clock.sleeping(1_000);
  page.leave();
  await relay.until(() => relay.streamCount === 0);
  const calls = relay.calls.length;
  clock.advance(60_000);
  assert.equal((await callsSoFar()).length, calls);
});

test("every call names the site, and each site of a relay has a conversation of its own", async () => {
  const [shop, club] = [visit("shop"), visit("club")];
  shop.chat.send("hi");
  await shop.shows("hi (sent)");
  await relay.until(() => relay.called(EVENTS).length === 1);
  assert(relay.calls.every(({ query }) => query.get("site") === "shop"));
  assert.equal(new Set(relay.calls.map(({ name }) => name)).size, 3);
  await club.shows();
  club.chat.send("hello");
  await club.shows("hello (sent)");
  assert.deepEqual(
    relay.called(POST).map(({ query }) => query.get("site")),
    ["shop", "club"],
  );
  assert.equal(relay.called(POST)[1]?.body.session_id, undefined);
  assert.equal(relay.tokens.size, 2);
});
