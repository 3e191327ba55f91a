import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import type { Conversation } from "../src/conversation.ts";
import type { Entry, Role } from "../src/wire.ts";
import { Device } from "./device.ts";

let device: Device;
let conversation: Conversation;

beforeEach(async () => {
  device = new Device();
  conversation = await openPage();
});

/** What a page load makes of what is kept. */
async function openPage(): Promise<Conversation> {
  const conversation = device.conversation();
  await conversation.sync();
  return conversation;
}

function entry(id: number, role: Role, text: string, messageId: number | null = null): Entry {
  return { id, role, text, message_id: messageId, timestamp: "2026-11-21T00:00:00Z" };
}

/** The rows in short: text, with the delivery of the visitor's own. */
function shown({ rows }: Conversation = conversation): string[] {
  return rows.map(({ text, delivery }) => (delivery ? `${text} (${delivery})` : text));
}

function nextKey(): string {
  const message = conversation.next();
  assert.ok(message, "something is to be sent");
  return message.key;
}

test("a message is shown at once and keeps its row when it is confirmed", () => {
  conversation.add("hi");
  assert.deepEqual(shown(), ["hi (sending)"]);
  const name = conversation.rows[0]?.name;
  conversation.confirm(nextKey(), 1);
  assert.deepEqual(shown(), ["hi (sent)"]);
  assert.equal(conversation.rows[0]?.name, name);
  assert.equal(conversation.next(), undefined);
});

test("messages are sent in the order they were written", () => {
  for (const text of ["a", "b", "c"]) conversation.add(text);
  const sent: string[] = [];
  for (let message = conversation.next(); message; message = conversation.next()) {
    sent.push(message.text);
    conversation.confirm(message.key, sent.length);
  }
  assert.deepEqual(sent, ["a", "b", "c"]);
});

test("what was begun is finished, before an older message of another tab", async () => {
  conversation.add("begun");
  conversation.address(nextKey(), null);
  const other = device.unsent();
  other.add({ key: "k1", text: "older", at: new Date(0).toISOString(), after: 0 });
  await other.sync();
  await conversation.sync();
  assert.equal(conversation.next()?.text, "begun");
  conversation.confirm(nextKey(), 1);
  assert.equal(conversation.next()?.text, "older");
});

test("every change is told", () => {
  let changes = 0;
  conversation.addEventListener("change", () => changes++);
  conversation.add("hi");
  conversation.confirm(nextKey(), 1);
  conversation.receive(entry(2, "agent", "hello", 1));
  conversation.markSeen();
  assert.equal(changes, 4);
  conversation.receive(entry(2, "agent", "hello", 1));
  conversation.markSeen();
  assert.equal(changes, 4, "what is known is no change");
});

test("an entry that comes twice is shown once", () => {
  conversation.receive(entry(1, "agent", "hello"));
  conversation.receive(entry(1, "agent", "hello"));
  conversation.restore([entry(1, "agent", "hello")], false);
  conversation.prepend([entry(1, "agent", "hello")], false);
  assert.deepEqual(shown(), ["hello"]);
});

test("only a reply that is news is told as one", async () => {
  const told: string[] = [];
  const listen = () =>
    conversation.addEventListener("reply", (event) => {
      told.push((event as CustomEvent<Entry>).detail.text);
    });
  listen();
  conversation.receive(entry(1, "agent", "read"));
  conversation.markSeen();
  conversation.receive(entry(2, "agent", "unread"));
  const page = [1, 2, 3].map((id) =>
    entry(id, "agent", ["read", "unread", "missed"][id - 1] ?? ""),
  );
  conversation.restore(page, false);
  assert.deepEqual(told, ["read", "unread", "missed"]);

  conversation = await openPage();
  listen();
  conversation.restore(page, false);
  assert.deepEqual(told.slice(3), ["unread", "missed"]);
});

test("the stream may be faster than the answer to the post", () => {
  conversation.add("hi");
  const key = nextKey();
  conversation.receive(entry(1, "visitor", "hi"));
  conversation.receive(entry(2, "agent", "hello", 1));
  assert.deepEqual(shown(), ["hi (sent)", "hello"]);
  conversation.confirm(key, 1);
  assert.deepEqual(shown(), ["hi (sent)", "hello"]);
  assert.equal(conversation.next(), undefined);
});

test("a reply that overtakes the answer to the post stands below its message", () => {
  conversation.add("hi");
  conversation.receive(entry(2, "agent", "hello", 1));
  conversation.confirm(nextKey(), 1);
  assert.deepEqual(shown(), ["hi (sent)", "hello"]);
});

test("the same words said before are not taken for the message on its way", async () => {
  conversation.receive(entry(4, "visitor", "yes"));
  conversation.add("yes");
  conversation = await openPage();
  conversation.restore([entry(4, "visitor", "yes")], false);
  assert.deepEqual(shown(), ["yes (sent)", "yes (sending)"]);
});

test("the same words from another tab are shown beside one's own", () => {
  conversation.add("yes");
  const key = nextKey();
  conversation.receive(entry(1, "visitor", "yes"));
  assert.deepEqual(shown(), ["yes (sent)"], "so far it must be taken for one's own");
  conversation.confirm(key, 2);
  assert.deepEqual(shown(), ["yes (sent)", "yes (sent)"]);
  assert.deepEqual(
    conversation.rows.map((row) => row.id),
    [1, 2],
  );
  assert.equal(new Set(conversation.rows.map((row) => row.name)).size, 2);
});

test("unsent messages survive a reload with their keys", async () => {
  conversation.add("hi");
  conversation.address(nextKey(), "s1");
  const before = conversation.next();
  conversation = await openPage();
  assert.deepEqual(shown(), ["hi (sending)"]);
  assert.deepEqual(conversation.next(), before);
});

test("after a reload a message whose answer was lost is shown once, in its place", async () => {
  conversation.add("hi");
  const key = nextKey();
  conversation = await openPage();
  conversation.add("more");
  conversation.restore([entry(1, "visitor", "hi"), entry(2, "agent", "hello", 1)], false);
  assert.deepEqual(shown(), ["hi (sent)", "hello", "more (sending)"]);
  conversation.confirm(key, 1);
  assert.deepEqual(shown(), ["hi (sent)", "hello", "more (sending)"]);
});

test("two unsent messages with the same words take one stored entry each", () => {
  conversation.add("yes");
  conversation.add("yes");
  conversation.restore([entry(1, "visitor", "yes")], false);
  assert.deepEqual(shown(), ["yes (sent)", "yes (sending)"]);
  conversation.restore([entry(1, "visitor", "yes"), entry(2, "visitor", "yes")], false);
  assert.deepEqual(shown(), ["yes (sent)", "yes (sent)"]);
});

test("a message confirmed while the transcript was on its way stays", () => {
  conversation.add("hi");
  conversation.confirm(nextKey(), 3);
  conversation.restore([entry(1, "agent", "earlier")], false);
  assert.deepEqual(shown(), ["earlier", "hi (sent)"]);
});

test("a refused message tells why, and a retry is a new message at the end", async () => {
  conversation.add("too long");
  const key = nextKey();
  conversation.fail(key, "The message is too long.");
  conversation.add("short");
  assert.deepEqual(shown(), ["too long (failed)", "short (sending)"]);
  assert.equal(conversation.rows[0]?.error, "The message is too long.");
  assert.equal(conversation.next()?.text, "short", "the others go on");
  conversation.retry(key);
  assert.deepEqual(shown(), ["short (sending)", "too long (sending)"]);
  conversation = await openPage();
  assert.deepEqual(shown(), ["short (sending)", "too long (sending)"]);
});

test("a failure survives a reload", async () => {
  conversation.add("too long");
  conversation.fail(nextKey(), "The message is too long.");
  conversation = await openPage();
  assert.deepEqual(shown(), ["too long (failed)"]);
  assert.equal(conversation.next(), undefined);
});

test("a retry of what has not failed does nothing", () => {
  conversation.add("hi");
  const key = nextKey();
  conversation.retry(key);
  assert.equal(nextKey(), key);
});

test("earlier pages go in front", () => {
  conversation.restore([entry(3, "agent", "c")], true);
  assert.deepEqual([conversation.oldest, conversation.hasEarlier], [3, true]);
  conversation.prepend([entry(1, "visitor", "a"), entry(2, "agent", "b", 1)], false);
  assert.deepEqual(shown(), ["a (sent)", "b", "c"]);
  assert.deepEqual([conversation.oldest, conversation.hasEarlier], [1, false]);
});

test("without a word of the relay, a reply is awaited from when its message has arrived", () => {
  conversation.add("one");
  assert.equal(conversation.activity.awaited, undefined);
  conversation.confirm(nextKey(), 1);
  assert.equal(conversation.activity.awaited, 1);
  conversation.add("two");
  conversation.confirm(nextKey(), 2);
  assert.equal(conversation.activity.awaited, 1, "the first is answered first");
  conversation.receive(entry(3, "agent", "to one", 1));
  assert.equal(conversation.activity.awaited, 2);
  conversation.receive(entry(4, "agent", "to two", 2));
  assert.equal(conversation.activity.awaited, undefined);
});

test("whatever is said of its own accord ends the waiting too", () => {
  conversation.add("one");
  conversation.confirm(nextKey(), 1);
  conversation.receive(entry(2, "system", "The message could not be answered."));
  assert.equal(conversation.activity.awaited, undefined);
});

test("replies are unread until seen, over reloads", async () => {
  conversation.receive(entry(1, "visitor", "hi"));
  conversation.receive(entry(2, "agent", "one"));
  conversation.receive(entry(3, "operator", "two"));
  assert.equal(conversation.unread, 2);
  conversation.markSeen();
  assert.equal(conversation.unread, 0);
  conversation = await openPage();
  conversation.restore([entry(2, "agent", "one"), entry(4, "agent", "three")], false);
  assert.equal(conversation.unread, 1);
});

test("what was seen in one session says nothing of the next", () => {
  conversation.receive(entry(9, "agent", "old"));
  conversation.markSeen();
  conversation.leaveSession();
  conversation.receive(entry(1, "agent", "new"));
  assert.equal(conversation.unread, 1);
});

test("when a session is over its words stay and its unsent messages become new ones", () => {
  conversation.receive(entry(1, "agent", "old"));
  conversation.add("hi");
  const key = nextKey();
  conversation.address(key, "s1");
  conversation.leaveSession();
  conversation.readdress(key);
  assert.deepEqual(shown(), ["old", "hi (sending)"]);
  assert.notEqual(nextKey(), key);
  assert.equal(conversation.next()?.addressee, undefined);
  conversation.restore([], false);
  conversation.receive(entry(1, "agent", "new, though its id was used before"));
  assert.deepEqual(shown(), ["old", "hi (sending)", "new, though its id was used before"]);
});

test("a message known to be stored is never made new or failed", () => {
  conversation.add("hi");
  const key = nextKey();
  conversation.receive(entry(1, "visitor", "hi"));
  conversation.leaveSession();
  conversation.readdress(key);
  conversation.fail(key, "Too late.");
  assert.deepEqual(shown(), ["hi (sent)"]);
  assert.equal(conversation.next(), undefined);
});

test("two tabs show the same unsent messages, and one sends them", async () => {
  const other = await openPage();
  conversation.add("hi");
  await other.sync();
  assert.deepEqual(shown(other), ["hi (sending)"]);
  conversation.confirm(nextKey(), 1);
  await other.sync();
  assert.equal(other.next(), undefined);
  other.receive(entry(1, "visitor", "hi"));
  assert.deepEqual(shown(other), ["hi (sent)"]);
});

test("a tab that hears of the message before the other tab's word shows it once", async () => {
  const other = await openPage();
  conversation.add("hi");
  await other.sync();
  other.receive(entry(1, "visitor", "hi"));
  conversation.confirm(nextKey(), 1);
  await other.sync();
  assert.deepEqual(shown(other), ["hi (sent)"]);
});

test("a failure in one tab is one in the other", async () => {
  const other = await openPage();
  conversation.add("hi");
  await other.sync();
  conversation.fail(nextKey(), "No.");
  await other.sync();
  assert.deepEqual(shown(other), ["hi (failed)"]);
});
