/** Tells the relay what the visitor thinks of replies, each time until it has answered for it. */

import type { Backoff } from "./backoff.ts";
import type { Client } from "./client.ts";
import type { Conversation } from "./conversation.ts";
import type { Session } from "./storage.ts";
import { type Rating, RelayError, retryAfterMs } from "./wire.ts";

export class Rater {
  #session: Session;
  #client: Client;
  #conversation: Conversation;
  #backoff: Backoff;
  #isRunning = false;

  constructor(session: Session, client: Client, conversation: Conversation, backoff: Backoff) {
    this.#session = session;
    this.#client = client;
    this.#conversation = conversation;
    this.#backoff = backoff;
  }

  /** Sends until no rating is left to be sent; a second call while one runs does nothing. */
  async run(signal: AbortSignal): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    const { unsentRatings } = this.#conversation;
    while (!signal.aborted && unsentRatings.size > 0) {
      for (const [id, rating] of unsentRatings) await this.#attempt(id, rating, signal);
    }
    this.#isRunning = false;
  }

  /** Tries again at once instead of waiting for the next try. */
  wake(): void {
    this.#backoff.wake();
  }

  /** Tries once. What is not known to have been taken, or refused, is left to be tried again. */
  async #attempt(id: number, rating: Rating | null, signal: AbortSignal): Promise<void> {
    const { unsentRatings } = this.#conversation;
    try {
      await this.#client.rate(this.#session, id, rating, signal);
      this.#backoff.reset();
      // The visitor may have thought again meanwhile.
      if (unsentRatings.get(id) === rating) unsentRatings.delete(id);
    } catch (error) {
      const isRefused = error instanceof RelayError && error.isFinal;
      if (!isRefused) return this.#backoff.wait(signal, retryAfterMs(error));
      this.#conversation.rate(id, null);
      unsentRatings.delete(id);
    }
  }
}
