/** The tabs of one browser: one of them leads, and tells the others what it hears. */

import type { Clock } from "./clock.ts";
import type { Locks } from "./lock.ts";

/** A leader that takes longer to answer is frozen, and another tab takes its place. */
const PATIENCE_MS = 5_000;
const ASK = "ask";

/** One tab among those that use the same name. Where the page may have no locks, it is alone. */
export class Tabs<News> {
  #name: string;
  #locks: Locks | undefined;
  #clock: Clock;
  #signal: AbortSignal;
  #channel: BroadcastChannel | undefined;
  /** Ends when this tab leads no more; absent while it does not lead. */
  #lead: AbortController | undefined;
  #isQueued = false;
  #whenLeading = () => {};
  /** Ends the wait for the leader's answer; absent when none is waited for. */
  #asked: AbortController | undefined;

  constructor(name: string, locks: Locks | undefined, clock: Clock, signal: AbortSignal) {
    this.#name = name;
    this.#locks = locks;
    this.#clock = clock;
    this.#signal = signal;
  }

  /** Calls `hear` with what the leader tells, or, as the leader, `answer` when another tab asks. */
  listen(hear: (news: News) => void, answer: () => void): void {
    if (!this.#locks) return;
    const channel = new BroadcastChannel(this.#name);
    channel.onmessage = ({ data }) => {
      if (data === ASK) {
        if (this.#lead) answer();
      } else {
        this.#stopAsking();
        if (!this.#lead) hear(data);
      }
    };
    this.#signal.addEventListener("abort", () => {
      channel.close();
      this.#channel = undefined;
    });
    this.#channel = channel;
  }

  /** Tells the others, if this tab leads. */
  tell(news: News): void {
    if (this.#lead) this.#channel?.postMessage(news);
  }

  /** Asks the leader to tell how things stand; leads in place of one that does not answer. */
  async ask(): Promise<void> {
    if (this.#lead || !this.#channel) return;
    this.#channel.postMessage(ASK);
    if (this.#asked) return;
    const asked = new AbortController();
    this.#asked = asked;
    await this.#clock.sleep(PATIENCE_MS, AbortSignal.any([this.#signal, asked.signal]));
    if (this.#asked !== asked) return;
    this.#stopAsking();
    if (!this.#signal.aborted) await this.#request({ steal: true });
  }

  #stopAsking(): void {
    this.#asked?.abort();
    this.#asked = undefined;
  }

  /** Resolves once this tab leads, with a signal that aborts when it leads no more. */
  async lead(): Promise<AbortSignal> {
    if (!this.#isQueued) this.#queue();
    while (!this.#lead) {
      await new Promise<void>((resolve) => {
        this.#whenLeading = resolve;
      });
    }
    return AbortSignal.any([this.#signal, this.#lead.signal]);
  }

  /** Waits for its turn to lead, and again whenever the lead was taken away. */
  async #queue(): Promise<void> {
    this.#isQueued = true;
    while (!this.#signal.aborted) await this.#request({ signal: this.#signal });
  }

  /** Leads as long as it may, once it may. */
  async #request(options: LockOptions): Promise<void> {
    const lead = new AbortController();
    let isGranted = false;
    const work = () => {
      isGranted = true;
      this.#lead = lead;
      this.#stopAsking();
      this.#whenLeading();
      return aborted(this.#signal);
    };
    try {
      if (this.#locks) await this.#locks.request(this.#name, options, work);
      else await work();
    } catch {
      // Another tab has taken the lead; or this page may not use locks, and leads itself alone.
      if (!isGranted) await work();
    }
    lead.abort();
    if (this.#lead === lead) this.#lead = undefined;
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve());
  });
}
