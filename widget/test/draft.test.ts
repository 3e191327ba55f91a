import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import type { Conversation } from "../src/conversation.ts";
import { isDraft } from "../src/draft.ts";
import type { Chunk, Entry, Role, Status } from "../src/wire.ts";
import { Device } from "./device.ts";

let conversation: Conversation;

beforeEach(() => {
  conversation = new Device().conversation();
  conversation.receive(entry(1, "visitor", "hi"));
});

function entry(id: number, role: Role, text: string, messageId: number | null = null): Entry {
  return { id, role, text, message_id: messageId, timestamp: "2026-11-21T00:00:00Z" };
}

function chunk(offset: number, text: string, messageId = 1): Chunk {
  return { message_id: messageId, offset, text };
}

function status(state: Status["state"], messageId = 1): Status {
  return { host: "connected", message_id: messageId, ...(state && { state }) };
}

/** What is shown below the visitor's first message; a draft ends in an ellipsis. */
function shown(): string[] {
  return conversation.rows.slice(1).map((row) => (isDraft(row) ? `${row.text}…` : row.text));
}

test("a reply grows by its pieces, and the whole of it takes its place under its name", () => {
  assert.ok(conversation.receiveChunk(chunk(0, "Good")));
  assert.ok(conversation.receiveChunk(chunk(4, " morning")));
  assert.deepEqual(shown(), ["Good morning…"]);
  const draft = conversation.rows.at(-1);
  conversation.receive(entry(2, "agent", "Good morning!", 1));
  assert.deepEqual(shown(), ["Good morning!"]);
  assert.equal(conversation.rows.at(-1)?.name, draft?.name);
  assert.equal(conversation.rows.at(-1)?.id, 2);
});

test("offsets count bytes of UTF-8, whatever the text", () => {
  const text = "\uFEFFaé€🦀 naïve 日本";
  let bytes = 0;
  for (const character of text) {
    assert.ok(conversation.receiveChunk(chunk(bytes, character)));
    bytes += Buffer.byteLength(character);
  }
  assert.deepEqual(shown(), [`${text}…`]);
});

test("a piece from within what is known replaces the rest", () => {
  conversation.receiveChunk(chunk(0, "\uFEFFaé€🦀 old"));
  conversation.receiveChunk(chunk(Buffer.byteLength("\uFEFFaé€🦀"), "!"));
  assert.deepEqual(shown(), ["\uFEFFaé€🦀!…"]);
  conversation.receiveChunk(chunk(0, "anew"));
  assert.deepEqual(shown(), ["anew…"]);
});

test("a piece that comes twice changes nothing", () => {
  conversation.receiveChunk(chunk(0, "one "));
  conversation.receiveChunk(chunk(4, "two"));
  conversation.receiveChunk(chunk(4, "two"));
  assert.deepEqual(shown(), ["one two…"]);
});

test("a piece after a gap is refused and changes nothing", () => {
  conversation.receiveChunk(chunk(0, "one"));
  assert.equal(conversation.receiveChunk(chunk(4, "three")), false);
  assert.equal(conversation.receiveChunk(chunk(3, "of another", 2)), false);
  assert.deepEqual(shown(), ["one…"]);
});

test("a reply begun anew without a word yet shows nothing", () => {
  conversation.receiveChunk(chunk(0, "one"));
  conversation.receiveChunk(chunk(0, ""));
  assert.deepEqual(shown(), []);
  conversation.receiveChunk(chunk(0, "two"));
  assert.deepEqual(shown(), ["two…"]);
});

test("a piece that comes after its reply changes nothing", () => {
  conversation.receive(entry(2, "agent", "done", 1));
  assert.ok(conversation.receiveChunk(chunk(0, "do")));
  assert.ok(conversation.receiveChunk(chunk(4, "late")));
  assert.deepEqual(shown(), ["done"]);
});

test("the reply to another message begins in place of a draft", () => {
  conversation.receiveChunk(chunk(0, "to one"));
  conversation.receiveChunk(chunk(0, "to two", 2));
  assert.deepEqual(shown(), ["to two…"]);
});

test("a draft stays where it began, whatever is written meanwhile", async () => {
  conversation.receiveChunk(chunk(0, "to one"));
  conversation.add("two");
  await conversation.sync();
  conversation.confirm(String(conversation.next()?.key), 2);
  conversation.receiveChunk(chunk(6, " and on"));
  assert.deepEqual(shown(), ["to one and on…", "two"]);
  conversation.receive(entry(3, "agent", "to one and on.", 1));
  assert.deepEqual(shown(), ["to one and on.", "two"]);
});

test("what somebody else says is not taken for the whole of a draft", () => {
  conversation.receiveChunk(chunk(0, "to one"));
  conversation.receive(entry(2, "operator", "Let me."));
  conversation.receive(entry(3, "agent", "By the way."));
  conversation.receive(entry(4, "system", "The message could not be answered.", 1));
  assert.deepEqual(shown(), [
    "to one…",
    "Let me.",
    "By the way.",
    "The message could not be answered.",
  ]);
});

test("the transcript brings the whole of a draft", () => {
  conversation.receiveChunk(chunk(0, "o"));
  const name = conversation.rows.at(-1)?.name;
  conversation.restore([entry(1, "visitor", "hi"), entry(2, "agent", "one", 1)], false);
  assert.deepEqual(shown(), ["one"]);
  assert.equal(conversation.rows.at(-1)?.name, name);
});

test("a transcript without its reply leaves a draft", () => {
  conversation.receiveChunk(chunk(0, "o"));
  conversation.restore([entry(1, "visitor", "hi")], false);
  assert.deepEqual(shown(), ["o…"]);
});

test("a draft counts as unread once it is a reply", () => {
  conversation.receiveChunk(chunk(0, "o"));
  assert.equal(conversation.unread, 0);
  conversation.receive(entry(2, "agent", "one", 1));
  assert.equal(conversation.unread, 1);
});

for (const state of ["waiting", "retrying", "failed"] as const) {
  test(`a message that is ${state} has no draft`, () => {
    conversation.receiveStatus(status("working"));
    conversation.receiveChunk(chunk(0, "void"));
    conversation.receiveStatus(status(state));
    assert.deepEqual(shown(), []);
  });
}

test("a draft is gone when the relay is at another message, or at none", () => {
  conversation.receiveChunk(chunk(0, "void"));
  conversation.receiveStatus(status("working", 2));
  assert.deepEqual(shown(), []);
  conversation.receiveChunk(chunk(0, "void"));
  conversation.receiveStatus({ host: "connected" });
  assert.deepEqual(shown(), []);
});

test("a draft outlives a word that is repeated and a stream that is lost", () => {
  conversation.receiveChunk(chunk(0, "kept"));
  conversation.receiveStatus(status("working"));
  conversation.forgetStatus();
  conversation.receiveStatus({ ...status("working"), host: "away" });
  conversation.receiveStatus(status("cancelled"));
  assert.deepEqual(shown(), ["kept…"]);
});

test("a draft goes with its session", () => {
  conversation.receiveChunk(chunk(0, "void"));
  conversation.leaveSession();
  assert.deepEqual(shown(), []);
});
