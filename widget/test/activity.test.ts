import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import type { Conversation } from "../src/conversation.ts";
import type { Entry } from "../src/wire.ts";
import { Device } from "./device.ts";

const IDLE = { awaited: undefined, phase: "working", progress: undefined, isHostAway: false };

let conversation: Conversation;

beforeEach(() => {
  conversation = new Device().conversation();
  conversation.receive(question(1));
});

function question(id: number): Entry {
  return { id, role: "visitor", text: "hi", message_id: null, timestamp: "2026-11-21T00:00:00Z" };
}

function reply(id: number, messageId: number): Entry {
  return { ...question(id), role: "agent", message_id: messageId };
}

test("the relay's word goes before what can be seen", () => {
  assert.deepEqual(conversation.activity, { ...IDLE, awaited: 1 });
  conversation.receiveStatus({ host: "away" });
  assert.deepEqual(conversation.activity, { ...IDLE, isHostAway: true });
  conversation.forgetStatus();
  assert.deepEqual(conversation.activity, { ...IDLE, awaited: 1 });
});

test("each word of the relay replaces the one before as a whole", () => {
  const progress = "Searching the archive";
  conversation.receiveStatus({ host: "away", message_id: 1, state: "working", progress });
  assert.deepEqual(conversation.activity, { ...IDLE, awaited: 1, progress, isHostAway: true });
  conversation.receiveStatus({ host: "connected", message_id: 1, state: "retrying" });
  assert.deepEqual(conversation.activity, { ...IDLE, awaited: 1, phase: "retrying" });
  conversation.receiveStatus({ host: "connected", message_id: 1, state: "cancelled" });
  assert.deepEqual(conversation.activity, { ...IDLE, awaited: 1, phase: "stopping" });
});

test("nothing is awaited once the relay has given up", () => {
  conversation.receiveStatus({ host: "connected", message_id: 1, state: "failed" });
  assert.deepEqual(conversation.activity, IDLE);
});

test("nothing is awaited once the reply is there, whatever the relay told before", () => {
  conversation.receiveStatus({ host: "away", message_id: 1, state: "working", progress: "Hm" });
  conversation.receive(reply(2, 1));
  assert.deepEqual(conversation.activity, { ...IDLE, isHostAway: true });
});

test("what is said besides leaves the relay's word as it is", () => {
  conversation.receiveStatus({ host: "connected", message_id: 1, state: "working" });
  conversation.receive(question(2));
  conversation.receive({ ...reply(3, 1), message_id: null });
  assert.equal(conversation.activity.awaited, 1);
});

test("a reply is being stopped from the visitor's wish until it is there", () => {
  conversation.stopping = 1;
  assert.equal(conversation.activity.phase, "stopping");
  conversation.receiveStatus({ host: "connected", message_id: 1, state: "working" });
  assert.equal(conversation.activity.phase, "stopping");
  conversation.receive({ ...reply(2, 1), stopped: true });
  assert.deepEqual(conversation.activity, IDLE);
  assert.equal(conversation.rows.at(-1)?.isStopped, true);
  conversation.receiveStatus({ host: "connected", message_id: 3, state: "waiting" });
  assert.deepEqual(conversation.activity, { ...IDLE, awaited: 3 });
});

test("a session that is over leaves nothing to wait for", () => {
  conversation.receiveStatus({ host: "away", message_id: 1, state: "working" });
  conversation.stopping = 1;
  conversation.leaveSession();
  assert.deepEqual(conversation.activity, IDLE);
});
