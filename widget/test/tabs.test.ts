import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import type { Locks } from "../src/lock.ts";
import { TestClock } from "./clock.ts";
import { Device } from "./device.ts";
import { chunkEvent, FakeRelay, refuse, statusEvent } from "./fake-relay.ts";
import { TestLocks } from "./locks.ts";
import { Page } from "./page.ts";

const TRANSCRIPT = "GET /sessions/{id}/messages";
const EVENTS = "GET /sessions/{id}/events";
const SO_FAR = ["hi (sent)", "good "];
const WHOLE = ["hi (sent)", "good morning"];

let relay: FakeRelay;
let clock: TestClock;
let device: Device;
let locks: TestLocks;
let tabs: Page[];

beforeEach(async () => {
  relay = await FakeRelay.start();
  clock = new TestClock();
  device = new Device();
  locks = new TestLocks();
  tabs = [];
});

afterEach(async () => {
  for (const tab of tabs) tab.leave();
  await relay.stop();
});

function visit(own: Locks | undefined = locks): Page {
  const tab = new Page(relay.address, { ...device, clock, locks: own });
  tabs.push(tab);
  return tab;
}

/** The tab that holds the stream; the visitor has said hi in it. */
async function visitFirst(): Promise<Page> {
  const tab = visit();
  tab.chat.send("hi");
  await tab.shows("hi (sent)");
  await relay.until(() => relay.streamCount === 1);
  return tab;
}

/** More tabs of the same browser, which show what the first does. */
async function visitMore(count: number): Promise<Page[]> {
  const more = Array.from({ length: count }, () => visit());
  for (const tab of more) await tab.shows("hi (sent)");
  return more;
}

/** The agent begins to answer. */
function begin(): void {
  relay.write(statusEvent({ host: "connected", message_id: 1, state: "working" }));
  relay.write(chunkEvent({ message_id: 1, offset: 0, text: "good " }));
}

test("ten tabs hold one stream, and each shows all that comes by it", async () => {
  const first = await visitFirst();
  const all = [first, ...(await visitMore(9))];
  relay.write(statusEvent({ host: "connected", message_id: 1, state: "working", progress: "Hm" }));
  relay.write(chunkEvent({ message_id: 1, offset: 0, text: "good " }));
  for (const tab of all) await tab.shows(...SO_FAR);
  for (const tab of all) assert.equal(tab.activity.progress, "Hm");
  relay.say("session-1", "agent", "good morning", 1);
  for (const tab of all) await tab.shows(...WHOLE);
  for (const tab of all) assert.equal(tab.activity.awaited, undefined);
  assert.equal(relay.called(EVENTS).length, 1);
});

test("a tab that comes in the middle of a reply is told what was written so far", async () => {
  const first = await visitFirst();
  begin();
  await first.shows(...SO_FAR);
  const later = visit();
  await later.shows(...SO_FAR);
  assert.equal(later.activity.phase, "working");
  relay.write(chunkEvent({ message_id: 1, offset: 5, text: "morning" }));
  await later.shows(...WHOLE);
  assert.equal(relay.called(EVENTS).length, 1);
});

test("when the tab with the stream is closed, the next goes on from where that was", async () => {
  const first = await visitFirst();
  const [next, other] = (await visitMore(2)) as [Page, Page];
  relay.say("session-1", "agent", "wait");
  begin();
  for (const tab of [next, other]) await tab.shows("hi (sent)", "wait", "good ");
  relay.opening = chunkEvent({ message_id: 1, offset: 0, text: "good mor" });
  first.leave();
  for (const tab of [next, other]) await tab.shows("hi (sent)", "wait", "good mor");
  relay.say("session-1", "agent", "good morning", 1);
  for (const tab of [next, other]) await tab.shows("hi (sent)", "wait", "good morning");
  assert.equal(relay.streamCount, 1);
  assert.equal(relay.called(EVENTS).at(-1)?.headers["last-event-id"], "2");
});

test("a tab whose leader does not answer leads in its place", async () => {
  const first = await visitFirst();
  first.leave();
  await relay.until(() => relay.streamCount === 0);
  const frozen = new Promise<void>(() => {});
  const held = locks.request(`postern:${relay.address}:session-1`, () => frozen);
  const tab = visit();
  await clock.sleeping(5_000);
  assert.equal(relay.streamCount, 0);
  clock.advance(5_000);
  await assert.rejects(held, { name: "AbortError" });
  await relay.until(() => relay.streamCount === 1);
  const [other] = (await visitMore(1)) as [Page];
  relay.say("session-1", "agent", "hello", 1);
  for (const page of [tab, other]) await page.shows("hi (sent)", "hello");
});

test("a tab that lost the lead closes its stream and hears from the next leader", async () => {
  const first = await visitFirst();
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  locks.request(`postern:${relay.address}:session-1`, { steal: true }, () => held);
  await relay.until(() => relay.streamCount === 0);
  const [other] = (await visitMore(1)) as [Page];
  release();
  await clock.sleeping(1_000);
  clock.advance(1_000);
  await relay.until(() => relay.streamCount === 1);
  relay.say("session-1", "agent", "hello", 1);
  for (const page of [first, other]) await page.shows("hi (sent)", "hello");
});

test("what one tab has to load anew, all tabs show", async () => {
  const first = await visitFirst();
  const [other] = (await visitMore(1)) as [Page];
  relay.once(EVENTS, (_call, response) => {
    relay.say("session-1", "agent", "hello", 1);
    refuse(response, 400, "unknown_cursor", "The cursor is not known.");
    return true;
  });
  relay.cutStreams();
  for (const delay of [1_000, 2_000]) {
    await clock.sleeping(delay);
    clock.advance(delay);
  }
  for (const tab of [first, other]) await tab.shows("hi (sent)", "hello");
  assert.equal(relay.called(TRANSCRIPT).length, 3);
});

test("a reply that comes by long polling shows in all tabs", async () => {
  const first = await visitFirst();
  const [other] = (await visitMore(1)) as [Page];
  begin();
  for (const tab of [first, other]) await tab.shows(...SO_FAR);
  relay.greeting = "";
  relay.cutStreams();
  await clock.sleeping(1_000);
  clock.advance(1_000);
  await clock.sleeping(10_000);
  clock.advance(10_000);
  for (const tab of [first, other]) await tab.shows("hi (sent)");
  await clock.sleeping(1_000);
  clock.advance(1_000);
  await relay.until(() => relay.holdCount === 1);
  relay.say("session-1", "agent", "good morning", 1);
  for (const tab of [first, other]) await tab.shows(...WHOLE);
});

for (const [where, missing] of [
  ["has no locks", undefined],
  ["is refused its locks", { request: () => Promise.reject(new Error("Not here.")) }],
] as const) {
  test(`a tab that ${where} streams for itself`, async () => {
    await visitFirst();
    const alone = new Page(relay.address, { ...device, clock, locks: missing });
    tabs.push(alone);
    await relay.until(() => relay.streamCount === 2);
    relay.say("session-1", "agent", "hello", 1);
    await alone.shows("hi (sent)", "hello");
  });
}
