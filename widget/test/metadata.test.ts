import assert from "node:assert/strict";
import { test } from "node:test";
import { Conversation } from "../src/conversation.ts";
import { Store } from "../src/storage.ts";
import { MemoryStorage } from "./memory-storage.ts";

test("what goes along with a message stays with it until it is delivered", () => {
  const store = new Store("https://relay.example", new MemoryStorage());
  const conversation = new Conversation(store);
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

test("a store that is cleared has nothing left", () => {
  const storage = new MemoryStorage();
  const store = new Store("https://relay.example", storage);
  store.session = { id: "s1", token: "t" };
  store.seen = 3;
  new Conversation(store).add("hi");
  store.clear();
  const fresh = new Store("https://relay.example", storage);
  assert.deepEqual([fresh.session, fresh.unsent, fresh.seen], [undefined, [], 0]);
});
