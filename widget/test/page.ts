/** One visitor's page, without a view. */

import type { Activity } from "../src/activity.ts";
import { Chat, type Platform } from "../src/chat.ts";
import { Identity } from "../src/identity.ts";

export class Page {
  readonly chat: Chat;
  readonly identity = new Identity();
  #life = new AbortController();

  /** Jitter is always the whole delay, so that a retry waits for the clock. */
  constructor(relay: string, platform: Platform, site?: string) {
    const signal = this.#life.signal;
    this.chat = new Chat(relay, site, { ...platform, random: () => 1 }, signal, this.identity);
    this.chat.start();
  }

  leave(): void {
    this.#life.abort();
  }

  get shown(): string[] {
    return this.chat.conversation.rows.map(({ text, delivery }) =>
      delivery ? `${text} (${delivery})` : text,
    );
  }

  /** Resolves once this is what the visitor sees. */
  async shows(...expected: string[]): Promise<void> {
    await this.until(() => JSON.stringify(this.shown) === JSON.stringify(expected));
  }

  /** Resolves once the condition holds; looked at whenever the conversation changes. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      await new Promise((resolve) =>
        this.chat.conversation.addEventListener("change", resolve, { once: true }),
      );
    }
  }

  get activity(): Activity {
    return this.chat.conversation.activity;
  }
}
