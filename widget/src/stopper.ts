/** Stops a reply for the visitor: asks until the relay has answered for it. */

import type { Backoff } from "./backoff.ts";
import type { Client } from "./client.ts";
import type { Conversation } from "./conversation.ts";
import type { Session } from "./storage.ts";
import { RelayError, retryAfterMs } from "./wire.ts";

export class Stopper {
  #session: Session;
  #client: Client;
  #conversation: Conversation;
  #backoff: Backoff;

  constructor(session: Session, client: Client, conversation: Conversation, backoff: Backoff) {
    this.#session = session;
    this.#client = client;
    this.#conversation = conversation;
    this.#backoff = backoff;
  }

  /** Stops the reply to a message, unless that is being done already. */
  async stop(id: number, signal: AbortSignal): Promise<void> {
    if (this.#conversation.stopping === id) return;
    this.#conversation.stopping = id;
    while (!signal.aborted && this.#conversation.stopping === id) {
      try {
        await this.#client.cancel(this.#session, id, signal);
        return this.#backoff.reset();
      } catch (error) {
        if (error instanceof RelayError && error.isFinal) this.#conversation.stopping = undefined;
        else await this.#backoff.wait(signal, retryAfterMs(error));
      }
    }
  }

  /** Asks again at once instead of waiting for the next try. */
  wake(): void {
    this.#backoff.wake();
  }
}
