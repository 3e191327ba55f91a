/** Notices when a page is gone that had the bytes of a file, and the relay had not. */

import type { Conversation } from "./conversation.ts";
import { exclusivelyAs, type Locks } from "./lock.ts";

export class LostFiles {
  #conversation: Conversation;
  #prefix: string;
  #locks: Locks | undefined;
  #goOn: () => void;
  #known = new Set<string>();

  /**
   * Until the signal aborts, this page holds the lock of its name. `goOn` is called when no message
   * waits for a file that is lost any more.
   */
  constructor(
    conversation: Conversation,
    page: string,
    prefix: string,
    locks: Locks | undefined,
    goOn: () => void,
    signal: AbortSignal,
  ) {
    this.#conversation = conversation;
    this.#prefix = prefix;
    this.#locks = locks;
    this.#goOn = goOn;
    const left = new Promise((resolve) => signal.addEventListener("abort", resolve));
    this.#known.add(page);
    this.#exclusively(page)(() => left);
  }

  /** Looks for messages that wait for files; each is told as soon as their page is gone. */
  watch(): void {
    for (const page of this.#conversation.pagesWithFiles) {
      if (this.#known.has(page)) continue;
      this.#known.add(page);
      this.#exclusively(page)(async () => {
        await this.#conversation.sync();
        this.#conversation.dropFiles((file) => file.page === page);
        this.#goOn();
      });
    }
  }

  #exclusively(page: string) {
    return exclusivelyAs(this.#prefix + page, this.#locks);
  }
}
