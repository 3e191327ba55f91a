import assert from "node:assert/strict";
import { test } from "node:test";
import { newKey } from "../src/keys.ts";
import { pageStorage, Store } from "../src/storage.ts";
import { MemoryStorage } from "./memory-storage.ts";

const RELAY = "https://relay.example";
const SESSION = { id: "s1", token: "t1" };

test("what one store writes, the store of the next page reads", () => {
  const backing = new MemoryStorage();
  const store = new Store(RELAY, undefined, backing);
  store.session = SESSION;
  store.seen = 3;
  const next = new Store(RELAY, undefined, backing);
  assert.deepEqual([next.session, next.seen], [SESSION, 3]);
});

test("two relays on one page share nothing", () => {
  const backing = new MemoryStorage();
  new Store(RELAY, undefined, backing).session = SESSION;
  assert.equal(new Store("https://other.example", undefined, backing).session, undefined);
});

test("two sites of a relay share nothing", () => {
  const backing = new MemoryStorage();
  new Store(RELAY, "shop", backing).session = SESSION;
  assert.equal(new Store(RELAY, "club", backing).session, undefined);
  assert.equal(new Store(RELAY, undefined, backing).session, undefined);
  assert.deepEqual(new Store(RELAY, "shop", backing).session, SESSION);
});

test("nothing is left behind of what is no more", () => {
  const backing = new MemoryStorage();
  const store = new Store(RELAY, undefined, backing);
  store.session = SESSION;
  store.session = undefined;
  assert.equal(backing.size, 0);
});

test("a store that is cleared has nothing left", () => {
  const backing = new MemoryStorage();
  const store = new Store(RELAY, undefined, backing);
  store.session = SESSION;
  store.earlierToken = "t0";
  store.seen = 3;
  store.clear();
  assert.equal(backing.size, 0);
});

test("where the page may not store, everything lives as long as the page", () => {
  // Node 20 has no window, just as a page that may not touch it.
  const store = new Store(RELAY, undefined, pageStorage("localStorage"));
  store.session = SESSION;
  assert.deepEqual(store.session, SESSION);
  store.session = undefined;
  assert.equal(store.session, undefined);
});

test("a full storage still takes the newest value into memory", () => {
  const backing = new MemoryStorage();
  const store = new Store(RELAY, undefined, backing);
  store.seen = 1;
  backing.isFull = true;
  store.seen = 2;
  assert.equal(store.seen, 2);
  backing.isFull = false;
  store.seen = 3;
  assert.equal(new Store(RELAY, undefined, backing).seen, 3);
});

test("what cannot be read counts as not there", () => {
  const backing = new MemoryStorage();
  const store = new Store(RELAY, undefined, backing);
  backing.setItem(`${store.prefix}session`, "{");
  backing.setItem(`${store.prefix}seen`, '"many"');
  assert.deepEqual([store.session, store.seen], [undefined, 0]);
});

test("keys are version 4 UUIDs, also where the context is not secure", (t) => {
  const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
  assert.match(newKey(), uuid);
  Object.defineProperty(crypto, "randomUUID", { value: undefined, configurable: true });
  t.after(() => Reflect.deleteProperty(crypto, "randomUUID"));
  const keys = Array.from({ length: 100 }, newKey);
  for (const key of keys) assert.match(key, uuid);
  assert.equal(new Set(keys).size, 100);
});
