/** Sends the visitor's messages, one after another, each until the relay has answered for it. */

import type { Backoff } from "./backoff.ts";
import type { Client } from "./client.ts";
import type { Conversation } from "./conversation.ts";
import type { Identity } from "./identity.ts";
import type { Exclusively } from "./lock.ts";
import type { SessionKeeper } from "./session.ts";
import type { Unsent } from "./unsent.ts";
import { RelayError, retryAfterMs } from "./wire.ts";

export class Outbox {
  #client: Client;
  #conversation: Conversation;
  #session: SessionKeeper;
  #identity: Identity;
  #backoff: Backoff;
  #exclusively: Exclusively;
  #isRunning = false;

  constructor(
    client: Client,
    conversation: Conversation,
    session: SessionKeeper,
    identity: Identity,
    backoff: Backoff,
    exclusively: Exclusively,
  ) {
    this.#client = client;
    this.#conversation = conversation;
    this.#session = session;
    this.#identity = identity;
    this.#backoff = backoff;
    this.#exclusively = exclusively;
  }

  /** Sends until nothing is left to be sent; a second call while one runs does nothing. */
  async run(signal: AbortSignal): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      while (!signal.aborted && this.#conversation.next()) await this.#sendNext(signal);
    } finally {
      this.#isRunning = false;
    }
  }

  /** Sends what was refused for want of an identity; no other tab does so at the same time. */
  async runIdentified(signal: AbortSignal): Promise<void> {
    await this.#exclusively(async () => {
      await this.#conversation.sync();
      // What was refused in the meantime is not to be shown once more.
      if (this.#identity.token) this.#conversation.retryUnidentified();
      await this.#conversation.sync();
    });
    await this.run(signal);
  }

  /** Retries at once whatever is waiting to be retried. */
  wake(): void {
    this.#backoff.wake();
  }

  async #sendNext(signal: AbortSignal): Promise<void> {
    try {
      await this.#exclusively(async () => {
        // While this tab waited for its turn, another may have sent the message.
        await this.#conversation.sync();
        const message = this.#conversation.next();
        if (!message || signal.aborted) return;
        await this.#attempt(message, signal);
        await this.#conversation.sync();
      });
      this.#backoff.reset();
    } catch (error) {
      const asksToWait = error instanceof RelayError && error.asksToWait;
      this.#conversation.delay = asksToWait ? error : undefined;
      await this.#backoff.wait(signal, retryAfterMs(error));
    }
  }

  /** Tries once. Returns when the message's fate is known, throws when it is to be tried again. */
  async #attempt(message: Unsent, signal: AbortSignal): Promise<void> {
    const { key, text, files, metadata } = message;
    const session = this.#session.current;
    const addressee = message.addressee === undefined ? (session?.id ?? null) : message.addressee;
    if (addressee !== null && addressee !== session?.id) return this.#conversation.readdress(key);
    this.#conversation.address(key, addressee);
    await this.#conversation.sync();

    const token = this.#session.token;
    const identity = this.#identity.shownIn(addressee);
    const body = {
      ...(addressee !== null && { session_id: addressee }),
      message: text,
      ...(files && { files: files.map(({ id }) => id) }),
      ...(metadata && { metadata }),
      ...(identity && { identity }),
    };
    try {
      const accepted = await this.#client.post(body, key, token, signal);
      // Who has left by now is not to be taken back into the session; the message goes out again.
      signal.throwIfAborted();
      this.#identity.take(identity, accepted.session_id);
      this.#session.enter(accepted.session_id, accepted.session_token);
      this.#conversation.confirm(key, accepted.message_id);
    } catch (error) {
      if (!(error instanceof RelayError) || !error.isFinal) throw error;
      const { message: sentence } = error;
      if (error.refusesIdentity) {
        const isRefused = this.#identity.refuse(identity, sentence);
        if (isRefused) this.#conversation.fail(key, sentence, { isUnidentified: true });
        return;
      }
      if (!error.refusesSession || !token) return this.#conversation.fail(key, sentence);
      this.#session.leave(token, error);
      this.#conversation.readdress(key);
    }
  }
}
