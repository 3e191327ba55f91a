/**
 * Brings in what is said in one session: pushed by the event stream, else by long polling; in one
 * tab of the browser, which tells the others.
 */

import type { Backoff } from "./backoff.ts";
import type { Client } from "./client.ts";
import { type Clock, TimeoutError } from "./clock.ts";
import type { Conversation } from "./conversation.ts";
import type { ServerEvent } from "./sse.ts";
import type { Session } from "./storage.ts";
import type { Tabs } from "./tabs.ts";
import { RelayError, retryAfterMs } from "./wire.ts";

const LONG_POLL_SECONDS = 25;
/** How long long polling goes on before the stream gets another chance. */
const POLLING_PERIOD_MS = 5 * 60_000;
/** A stream that lasted this long was a good one, whatever ended it. */
const GOOD_STREAM_MS = 10_000;

/** What one tab does to its conversation and the others are to do to theirs. */
const SHARED = [
  "receive",
  "receiveChunk",
  "receiveStatus",
  "forgetStatus",
  "forgetDraft",
  "restore",
] as const;

type Shared = (typeof SHARED)[number];

export interface News<Name extends Shared = Shared> {
  readonly name: Name;
  readonly rest: Parameters<Conversation[Name]>;
  /** Where to go on after it. */
  readonly cursor?: string | undefined;
}

export class Inbox {
  #session: Session;
  #client: Client;
  #conversation: Conversation;
  #clock: Clock;
  #backoff: Backoff;
  #tabs: Tabs<News>;

  /** Where to go on; absent before the transcript has been loaded. */
  #cursor: string | undefined;
  #pollUntil = 0;
  /** Whether a poll went through right after the stream had failed to open. */
  #onlyPollingWorks = false;

  constructor(
    session: Session,
    client: Client,
    conversation: Conversation,
    clock: Clock,
    backoff: Backoff,
    tabs: Tabs<News>,
  ) {
    this.#session = session;
    this.#client = client;
    this.#conversation = conversation;
    this.#clock = clock;
    this.#backoff = backoff;
    this.#tabs = tabs;
  }

  /** Runs until aborted; throws a `RelayError` when the relay refuses the session. */
  async run(signal: AbortSignal): Promise<void> {
    this.#tabs.listen(
      (news) => this.#hear(news),
      () => this.#answer(),
    );
    while (!signal.aborted) {
      try {
        await this.#runOnce(signal);
        await this.#backoff.wait(signal);
      } catch (error) {
        if (signal.aborted) return;
        if (isVerdict(error)) {
          if (error.refusesSession) throw error;
          this.#cursor = undefined;
          this.#apply("forgetStatus");
        }
        await this.#backoff.wait(signal, retryAfterMs(error));
      }
    }
  }

  /** Connects at once instead of waiting for the next try, or sees to it that another tab does. */
  wake(): void {
    this.#backoff.wake();
    this.#tabs.ask();
  }

  /** Adds the page before the oldest entry. */
  async loadEarlier(signal: AbortSignal): Promise<void> {
    const page = await this.#client.transcript(this.#session, this.#conversation.oldest, signal);
    this.#conversation.prepend(page.messages, page.has_more);
  }

  /** One connection, from opening it to its clean end. */
  async #runOnce(signal: AbortSignal): Promise<void> {
    this.#cursor ??= await this.#restore(signal);
    const leading = await this.#tabs.lead();
    if (this.#clock.now() < this.#pollUntil) await this.#pollUntilTheStreamIsDue(leading);
    else await this.#stream(this.#cursor, leading);
  }

  async #restore(signal: AbortSignal): Promise<string> {
    const { messages, has_more, cursor } = await this.#client.transcript(
      this.#session,
      undefined,
      signal,
    );
    this.#apply("restore", messages, has_more);
    this.#tabs.ask();
    return cursor;
  }

  async #stream(cursor: string, signal: AbortSignal): Promise<void> {
    const events = await this.#openStream(cursor, signal);
    const openedAt = this.#clock.now();
    try {
      for await (const event of events) {
        if (event.id) this.#cursor = event.id;
        this.#take(event);
      }
    } finally {
      if (this.#clock.now() - openedAt >= GOOD_STREAM_MS) this.#backoff.reset();
    }
  }

  /** Throws when the stream has left something out, and so is to be opened anew. */
  #take({ type, data }: ServerEvent): void {
    if (type === "message") {
      this.#apply("receive", JSON.parse(data));
      this.#backoff.reset();
    } else if (type === "status") {
      this.#apply("receiveStatus", JSON.parse(data));
    } else if (type === "chunk" && !this.#apply("receiveChunk", JSON.parse(data))) {
      throw new RangeError("A piece of the reply is missing.");
    }
  }

  #apply<Name extends Shared>(name: Name, ...rest: Parameters<Conversation[Name]>): unknown {
    this.#tabs.tell({ name, rest, cursor: this.#cursor });
    return Reflect.apply(this.#conversation[name], this.#conversation, rest);
  }

  /** Takes what the leading tab has taken. */
  #hear({ name, rest, cursor }: News): void {
    // The leader may be of another version.
    if (!SHARED.includes(name)) return;
    // Before its own transcript is there, this tab has nothing to go on from.
    if (this.#cursor !== undefined) this.#cursor = cursor ?? this.#cursor;
    const isWhole = Reflect.apply(this.#conversation[name], this.#conversation, rest) !== false;
    if (!isWhole) this.#tabs.ask();
  }

  /** Tells a tab that came later what the transcript does not. */
  #answer(): void {
    const { status, draft } = this.#conversation;
    this.#tabs.tell(
      status ? { name: "receiveStatus", rest: [status] } : { name: "forgetStatus", rest: [] },
    );
    if (draft) this.#tabs.tell({ name: "receiveChunk", rest: [draft] });
  }

  /** Opens the stream; where it stays silent or fails twice though polls go through, polls do. */
  async #openStream(cursor: string, signal: AbortSignal): Promise<AsyncIterable<ServerEvent>> {
    const failedBefore = this.#onlyPollingWorks;
    this.#onlyPollingWorks = false;
    try {
      return await this.#client.events(this.#session, cursor, signal);
    } catch (error) {
      if (signal.aborted || isVerdict(error)) throw error;
      this.#apply("forgetStatus");
      await this.#poll(0, signal);
      this.#onlyPollingWorks = true;
      if (failedBefore || error instanceof TimeoutError) {
        this.#pollUntil = this.#clock.now() + POLLING_PERIOD_MS;
        this.#apply("forgetDraft");
        this.#backoff.reset();
      }
      throw error;
    }
  }

  async #pollUntilTheStreamIsDue(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && this.#clock.now() < this.#pollUntil) {
      const brought = await this.#poll(LONG_POLL_SECONDS, signal);
      this.#backoff.reset();
      // A relay that does not hold the call must not be asked without pause.
      if (brought === 0) await this.#backoff.wait(signal);
    }
  }

  /** Asks once for replies and tells how many there were. */
  async #poll(waitSeconds: number, signal: AbortSignal): Promise<number> {
    const after = this.#cursor ?? "";
    const { responses, cursor } = await this.#client.replies(
      this.#session,
      after,
      waitSeconds,
      signal,
    );
    for (const entry of responses) this.#apply("receive", entry);
    this.#cursor = cursor;
    return responses.length;
  }
}

/** Whether it was the relay that refused, and not the way to it that failed. */
function isVerdict(error: unknown): error is RelayError {
  if (!(error instanceof RelayError)) return false;
  return error.refusesSession || error.type === "unknown_cursor";
}
