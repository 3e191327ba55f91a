/** Records in an IndexedDB database of their own, as long as the browser keeps any for the page. */

import { type Clock, within } from "./clock.ts";

/** There are private modes in which IndexedDB neither works nor says so. */
const PATIENCE_MS = 3_000;
const NAME = "records";

export class Records {
  #clock: Clock;
  #database: Promise<IDBDatabase>;
  #isLost = false;

  /** The records are known by the field of that name. */
  constructor(database: string, key: string, indexedDB: () => IDBFactory, clock: Clock) {
    this.#clock = clock;
    this.#database = open(database, key, indexedDB);
  }

  /**
   * Resolves with what the request in it brought, once the transaction is complete; with undefined
   * from when one has failed, since what comes after it may build on it.
   */
  async transact<T>(
    mode: IDBTransactionMode,
    work: (records: IDBObjectStore) => IDBRequest<T>,
  ): Promise<T | undefined> {
    if (this.#isLost) return;
    try {
      const result = await within(this.#clock, PATIENCE_MS, this.#run(mode, work));
      if (!this.#isLost) return result;
    } catch {
      this.#isLost = true;
    }
  }

  close(): void {
    this.#database.then(
      (database) => database.close(),
      () => {},
    );
  }

  async #run<T>(mode: IDBTransactionMode, work: (records: IDBObjectStore) => IDBRequest<T>) {
    const transaction = (await this.#database).transaction(NAME, mode);
    const request = work(transaction.objectStore(NAME));
    await new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = reject;
    });
    return request.result;
  }
}

async function open(name: string, key: string, indexedDB: () => IDBFactory): Promise<IDBDatabase> {
  // The browser may forbid even to look at it.
  const request = indexedDB().open(name);
  return new Promise((resolve, reject) => {
    request.onupgradeneeded = () => request.result.createObjectStore(NAME, { keyPath: key });
    request.onerror = reject;
    request.onsuccess = () => {
      const database = request.result;
      // Whoever deletes it, or makes it anew, is not to wait for this page.
      database.onversionchange = () => database.close();
      resolve(database);
    };
  });
}
