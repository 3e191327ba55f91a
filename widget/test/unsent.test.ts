import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import type { Unsent, UnsentMessages } from "../src/unsent.ts";
import { TestClock } from "./clock.ts";
import { Device } from "./device.ts";

let device: Device;

beforeEach(() => {
  device = new Device();
});

function message(number: number): Unsent {
  const at = new Date(number).toISOString();
  return { key: `k${number}`, text: `text ${number}`, at, after: 0 };
}

/** What a page that comes now finds. */
async function kept(): Promise<Unsent[]> {
  const messages = device.unsent();
  await messages.sync();
  return [...messages.all];
}

function changed(messages: UnsentMessages): Promise<Event> {
  return new Promise((resolve) => messages.addEventListener("change", resolve, { once: true }));
}

test("what one page adds, the next finds, in the order it was written", async () => {
  const messages = device.unsent();
  for (const number of [2, 3, 1]) messages.add({ ...message(number), metadata: { number } });
  await messages.sync();
  const expected = [1, 2, 3].map((number) => ({ ...message(number), metadata: { number } }));
  assert.deepEqual(messages.all, expected);
  assert.deepEqual(await kept(), expected);
});

test("tabs that add in the same instant lose nothing", async () => {
  const tabs = Array.from({ length: 5 }, () => device.unsent());
  for (let number = 0; number < 100; number++) tabs[number % 5]?.add(message(number));
  for (const tab of tabs) await tab.sync();
  const expected = Array.from({ length: 100 }, (_, number) => message(number));
  for (const tab of tabs) {
    await tab.sync();
    assert.deepEqual(tab.all, expected);
  }
});

test("what is added while the others' are read is not lost from sight", async () => {
  const messages = device.unsent();
  const reading = messages.sync();
  messages.add(message(1));
  await reading;
  assert.deepEqual(messages.all, [message(1)]);
});

test("tabs are told of each change of another, once it is stored", async () => {
  const [here, there] = [device.unsent(), device.unsent()];
  await there.sync();
  for (const [change, expected] of [
    [() => here.add(message(1)), [message(1)]],
    [() => here.replace("k1", message(2)), [message(2)]],
    [() => here.replace("k2"), []],
  ] as const) {
    const told = changed(there);
    change();
    await told;
    await there.sync();
    assert.deepEqual(there.all, expected);
  }
});

test("what another tab has taken away is not put back", async () => {
  const [here, there] = [device.unsent(), device.unsent()];
  here.add(message(1));
  await here.sync();
  await there.sync();
  there.clear();
  await there.sync();
  here.replace("k1", { ...message(1), error: "Too late." });
  await here.sync();
  assert.deepEqual(here.all, []);
  assert.deepEqual(await kept(), []);
});

test("what is done in a page's last moment is done", async () => {
  const life = new AbortController();
  const messages = device.unsent(undefined, life.signal);
  messages.add(message(1));
  messages.add(message(2));
  messages.replace("k1");
  life.abort();
  assert.deepEqual(await kept(), [message(2)]);
});

test("what had not reached IndexedDB when its page ended, the next page finds", async () => {
  const { indexedDB } = device;
  device.indexedDB = () => ({ open: () => ({}) }) as unknown as IDBFactory;
  const clock = new TestClock();
  const messages = device.unsent(clock);
  messages.add(message(1));
  messages.add(message(2));
  device.indexedDB = indexedDB;
  assert.deepEqual(await kept(), [message(1), message(2)]);
  assert.equal(device.storage.size, 0);
  await clock.sleeping(3_000);
  clock.advance(3_000);
});

test("what had reached it is not changed by a page that takes it for unfinished", async () => {
  const messages = device.unsent();
  const addressed = { ...message(1), addressee: "s1" };
  messages.add(addressed);
  await messages.sync();
  device.store().adding = [message(1)];
  assert.deepEqual(await kept(), [addressed]);
  assert.equal(device.storage.size, 0);
});

test("what a page that ended had begun to add, and another has sent, is not sent again", async () => {
  const messages = device.unsent();
  messages.add(message(1));
  await messages.sync();
  device.store().adding = [message(1)];
  messages.replace("k1");
  await messages.sync();
  assert.deepEqual(await kept(), []);
});

test("a page that forgets and the one that takes its place keep apart", async () => {
  const life = new AbortController();
  const messages = device.unsent(undefined, life.signal);
  messages.add(message(1));
  await messages.sync();
  messages.clear();
  life.abort();
  const next = device.unsent();
  next.add(message(2));
  await next.sync();
  assert.deepEqual(next.all, [message(2)]);
});

test("what cannot be read counts as not there", async () => {
  device.store().adding = [{ key: "odd" }, null];
  const messages = device.unsent();
  messages.add({ key: "odd" } as Unsent);
  messages.add(message(1));
  assert.deepEqual(await kept(), [message(1)]);
});

const NONE: Record<string, () => IDBFactory> = {
  "is not there": () => undefined as unknown as IDBFactory,
  "must not be looked at": () => {
    throw new DOMException("It is forbidden here.", "SecurityError");
  },
  "cannot be opened": () => ({ open: failing }) as unknown as IDBFactory,
};

function failing(): IDBOpenDBRequest {
  const request = {} as IDBOpenDBRequest;
  queueMicrotask(() => request.onerror?.(new Event("error")));
  return request;
}

for (const [what, indexedDB] of Object.entries(NONE)) {
  test(`where IndexedDB ${what}, messages live as long as the page`, async () => {
    device.indexedDB = indexedDB;
    const life = new AbortController();
    const messages = device.unsent(undefined, life.signal);
    messages.add(message(1));
    messages.add(message(2));
    messages.replace("k1", message(3));
    await messages.sync();
    assert.deepEqual(messages.all, [message(2), message(3)]);
    life.abort();
  });
}

test("where IndexedDB never answers, messages are sent after a while all the same", async () => {
  device.indexedDB = () => ({ open: () => ({}) }) as unknown as IDBFactory;
  const clock = new TestClock();
  const messages = device.unsent(clock);
  messages.add(message(1));
  const synced = messages.sync();
  await clock.sleeping(3_000);
  clock.advance(3_000);
  await synced;
  assert.deepEqual(messages.all, [message(1)]);
});

test("once a message could not be stored, none that is seen is lost", async () => {
  const messages = device.unsent();
  await messages.sync();
  // What cannot be cloned cannot be stored.
  messages.add({ ...message(1), metadata: { odd: () => {} } });
  const synced = messages.sync();
  messages.add(message(2));
  await synced;
  await messages.sync();
  assert.deepEqual(
    messages.all.map(({ key }) => key),
    ["k1", "k2"],
  );
});
