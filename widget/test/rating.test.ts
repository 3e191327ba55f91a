import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import type { Chat } from "../src/chat.ts";
import type { Row } from "../src/row.ts";
import { TestClock } from "./clock.ts";
import { Device } from "./device.ts";
import { FakeRelay, type Fault, refuse } from "./fake-relay.ts";
import { Page } from "./page.ts";

const FEEDBACK = "POST /messages/{id}/feedback";
const EVENTS = "GET /sessions/{id}/events";
const TRANSCRIPT = "GET /sessions/{id}/messages";

let relay: FakeRelay;
let clock: TestClock;
let device: Device;
let page: Page;
let chat: Chat;

beforeEach(async () => {
  relay = await FakeRelay.start();
  clock = new TestClock();
  device = new Device();
  openPage();
});

afterEach(async () => {
  page.leave();
  await relay.stop();
});

function openPage(): void {
  page = new Page(relay.address, { ...device, clock });
  chat = page.chat;
}

/** Leaves the page, and comes back to it. */
function reload(): void {
  page.leave();
  openPage();
}

/** Resolves once the newest row is like this, and gives it. */
async function newest(isMeant: (row: Row) => boolean): Promise<Row> {
  const last = () => chat.conversation.rows.at(-1);
  await page.until(() => isMeant(last() ?? ({} as Row)));
  return last() as Row;
}

/** Has a message answered, and gives the reply's id. */
async function answered(): Promise<number> {
  chat.send("hi");
  await newest(({ delivery }) => delivery === "sent");
  await relay.until(() => relay.streamCount === 1);
  const { id } = relay.say("session-1", "agent", "hello", 1);
  await newest((row) => row.id === id);
  return id;
}

function ratings(): unknown[] {
  return relay.called(FEEDBACK).map(({ body }) => body.rating);
}

const breakOff: Fault = (_call, response) => {
  response.destroy();
  return true;
};

test("a rating is shown at once, sent with the session's token, and there after a reload", async () => {
  const reply = await answered();
  assert.equal(chat.conversation.rows.at(-1)?.rating, null);
  chat.rate(reply, "up");
  assert.equal(chat.conversation.rows.at(-1)?.rating, "up");
  await relay.until(() => ratings().length === 1);
  const [call] = relay.called(FEEDBACK);
  assert.deepEqual([call?.id, call?.body], [String(reply), { rating: "up" }]);
  assert.match(String(call?.headers.authorization), /^Bearer token-session-1/);
  reload();
  await newest(({ rating }) => rating === "up");
});

test("a rating that is taken back is gone at the relay too", async () => {
  const reply = await answered();
  chat.rate(reply, "down");
  await relay.until(() => ratings().length === 1);
  chat.rate(reply, null);
  await relay.until(() => ratings().length === 2);
  assert.deepEqual(ratings(), ["down", null]);
  assert.equal(relay.entries.at(-1)?.rating, undefined);
});

test("a rating is repeated until it got through, and the last one wins", async () => {
  const reply = await answered();
  relay.once(FEEDBACK, breakOff);
  relay.once(FEEDBACK, (_call, response) => {
    refuse(response, 503, "unavailable", "Not now.", 7);
    return true;
  });
  chat.rate(reply, "up");
  await clock.sleeping(1_000);
  chat.rate(reply, "down");
  clock.advance(1_000);
  await clock.sleeping(9_000);
  clock.advance(9_000);
  await relay.until(() => ratings().length === 3);
  assert.deepEqual(ratings(), ["up", "down", "down"]);
  assert.equal(relay.entries.at(-1)?.rating, "down");
});

test("a rating that changes while it is on its way is sent as it is then", async () => {
  const reply = await answered();
  relay.once(FEEDBACK, () => {
    chat.rate(reply, "down");
    return false;
  });
  chat.rate(reply, "up");
  await relay.until(() => ratings().length === 2);
  assert.equal(relay.entries.at(-1)?.rating, "down");
});

test("the network's return ends the wait", async () => {
  const reply = await answered();
  relay.once(FEEDBACK, breakOff);
  chat.rate(reply, "up");
  await clock.sleeping(1_000);
  chat.wake();
  await relay.until(() => ratings().length === 2);
});

test("a transcript that knows nothing of it yet takes no rating away", async () => {
  const reply = await answered();
  relay.once(FEEDBACK, () => true);
  chat.rate(reply, "up");
  await relay.until(() => ratings().length === 1);
  relay.once(EVENTS, (_call, response) => {
    refuse(response, 400, "unknown_cursor", "The cursor is not known.");
    return true;
  });
  relay.cutStreams();
  clock.advance(await clock.sleeping(1_000));
  clock.advance(await clock.sleeping(2_000));
  await relay.until(() => relay.called(TRANSCRIPT).length === 2);
  await relay.until(() => relay.streamCount === 1);
  assert.equal(chat.conversation.rows.at(-1)?.rating, "up");
});

test("a rating that is refused is taken back, and not sent again", async () => {
  const reply = await answered();
  relay.once(FEEDBACK, (_call, response) => {
    refuse(response, 404, "not_found", "There is no such reply.");
    return true;
  });
  chat.rate(reply, "up");
  await newest(({ rating }) => rating === null);
  chat.rate(reply, "down");
  await relay.until(() => ratings().length === 2);
  assert.deepEqual(ratings(), ["up", "down"]);
});

test("in a session that is over, nothing is offered and nothing is rated", async () => {
  await answered();
  relay.offer("session-1", "Shall I?", ["Yes", "No"]);
  await newest(({ quickReplies }) => quickReplies?.length === 2);
  relay.tokens.set("session-1", "another");
  relay.cutStreams();
  clock.advance(await clock.sleeping(1_000));
  await newest(({ rating }) => rating === undefined);
  assert.equal(chat.conversation.rows.at(-1)?.text, "Shall I?");
  assert.equal(chat.conversation.rows.at(-1)?.quickReplies, undefined);
});

test("what an agent offers comes with its reply, and after a reload too", async () => {
  await answered();
  relay.offer("session-1", "Shall I?", ["Yes", "No"]);
  const { quickReplies } = await newest(({ text }) => text === "Shall I?");
  assert.deepEqual(quickReplies, ["Yes", "No"]);
  reload();
  assert.deepEqual((await newest(({ text }) => text === "Shall I?")).quickReplies, ["Yes", "No"]);
});
