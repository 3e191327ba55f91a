/** The messages still to be sent, which all tabs of the browser share. */

import type { Clock } from "./clock.ts";
import { Records } from "./records.ts";
import { hasTypes, type Store } from "./storage.ts";
import type { FileInfo, Metadata } from "./wire.ts";

/** A file that goes with an unsent message. */
export interface UnsentFile extends FileInfo {
  /** The page that has its bytes, as long as the relay has not; until then its id is made up. */
  readonly page?: string;
}

/** A message on its way to the relay; kept until the relay has answered for it. */
export interface Unsent {
  /** Its idempotency key, and its name in the conversation. */
  readonly key: string;
  readonly text: string;
  readonly files?: readonly UnsentFile[];
  readonly metadata?: Metadata;
  /** When the visitor wrote it, RFC 3339; later than all that were unsent then. */
  readonly at: string;
  /** The newest entry known when it was written; the relay's id for it can only be higher. */
  readonly after: number;
  /** The session its first attempt named, null when it named none; absent before that attempt. */
  readonly addressee?: string | null;
  /** Why it will not be sent by itself any more. */
  readonly error?: string;
  /** Whether it will be, once the visitor is identified. */
  readonly isUnidentified?: true;
}

/**
 * Keeps each in a record of its own; where the page can have none, as long as the page. What this tab
 * does shows at once. What another does is told by a `change` event, and shows after `sync`.
 */
export class UnsentMessages extends EventTarget {
  #messages = new Map<string, Unsent>();
  #store: Store;
  #records: Records;
  #channel: BroadcastChannel | undefined;
  /** How often this tab has changed something. */
  #changes = 0;

  /** They are shared by all tabs whose stores have the same prefix. */
  constructor(store: Store, indexedDB: () => IDBFactory, clock: Clock, signal: AbortSignal) {
    super();
    const name = `${store.prefix}unsent`;
    this.#store = store;
    this.#records = new Records(name, "key", indexedDB, clock);
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = () => {
      if (!signal.aborted) this.dispatchEvent(new Event("change"));
    };
    signal.addEventListener("abort", () => this.#close());
    for (const message of store.adding.filter(isUnsent)) this.#takeOver(message);
  }

  /** Oldest first. */
  get all(): readonly Unsent[] {
    return [...this.#messages.values()].sort((one, other) => one.at.localeCompare(other.at));
  }

  get(key: string): Unsent | undefined {
    return this.#messages.get(key);
  }

  add(message: Unsent): void {
    this.#messages.set(message.key, message);
    this.#store.adding = [...this.#store.adding, message];
    this.#keep(message, (records) => {
      const request = records.put(message);
      // So that it is kept when the page is left now; unless another transaction is in its way.
      records.transaction.commit();
      return request;
    });
  }

  /** Puts another message, or none, in the place of one, unless another tab has done that before. */
  replace(key: string, next?: Unsent): void {
    this.#messages.delete(key);
    // Whoever changes it has seen it in IndexedDB.
    this.#noteAdded(key);
    if (next) this.#messages.set(next.key, next);
    this.#write((records) => {
      const request = records.openCursor(key);
      request.onsuccess = () => {
        if (request.result?.delete() && next) records.put(next);
      };
      return request;
    });
  }

  clear(): void {
    this.#messages.clear();
    this.#write((records) => records.clear());
  }

  /** Resolves once what this tab has done is stored, and what the others have done is known. */
  async sync(): Promise<void> {
    const changes = this.#changes;
    const found = await this.#records.transact("readonly", (records) => records.getAll());
    if (!found) return;
    if (changes !== this.#changes) return this.sync();
    this.#messages = new Map(found.filter(isUnsent).map((message) => [message.key, message]));
  }

  /** Adds what an earlier page, or one that is still at it, had begun to add. */
  #takeOver(message: Unsent): void {
    this.#keep(message, (records) => {
      const request = records.getKey(message.key);
      request.onsuccess = () => {
        if (request.result === undefined) records.put(message);
      };
      return request;
    });
  }

  async #keep({ key }: Unsent, work: (records: IDBObjectStore) => IDBRequest): Promise<void> {
    await this.#write(work);
    this.#noteAdded(key);
  }

  #noteAdded(key: string): void {
    this.#store.adding = this.#store.adding.filter((other) => isUnsent(other) && other.key !== key);
  }

  async #write(work: (records: IDBObjectStore) => IDBRequest): Promise<void> {
    this.#changes++;
    await this.#records.transact("readwrite", work);
    this.#channel?.postMessage(null);
  }

  async #close(): Promise<void> {
    await this.sync();
    this.#records.close();
    this.#channel?.close();
    this.#channel = undefined;
  }
}

function isUnsent(value: unknown): value is Unsent {
  return hasTypes(value, { key: "string", text: "string", at: "string", after: "number" });
}
