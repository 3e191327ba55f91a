/** What one visitor's browser keeps for a page, shared by its tabs and by the pages that follow. */

import { setMaxListeners } from "node:events";
import { after } from "node:test";
import { IDBFactory } from "fake-indexeddb";
import { type Clock, systemClock } from "../src/clock.ts";
import { Conversation } from "../src/conversation.ts";
import { Store } from "../src/storage.ts";
import { UnsentMessages } from "../src/unsent.ts";
import { MemoryStorage } from "./memory-storage.ts";

const RELAY = "https://relay.example";

const over = new AbortController();
setMaxListeners(Infinity, over.signal);
after(() => over.abort());

export class Device {
  readonly storage = new MemoryStorage();
  /** In its place, a test may put what a page that may have no IndexedDB gets. */
  indexedDB: () => IDBFactory;

  constructor() {
    const factory = new IDBFactory();
    this.indexedDB = () => factory;
  }

  store(): Store {
    return new Store(RELAY, undefined, this.storage);
  }

  /** What a page load finds of the unsent messages. */
  unsent(clock: Clock = systemClock, signal: AbortSignal = over.signal): UnsentMessages {
    return new UnsentMessages(this.store(), this.indexedDB, clock, signal);
  }

  /** What a page load makes of all that. */
  conversation(): Conversation {
    return new Conversation(this.store(), this.unsent());
  }
}
