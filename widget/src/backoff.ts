/** Spaces out retries: exponential with full jitter, never sooner than the relay asked for. */

import type { Clock } from "./clock.ts";

const BASE_MS = 1_000;
const CAP_MS = 30_000;

export class Backoff {
  #clock: Clock;
  #random: () => number;
  #attempt = 0;
  #nap = new AbortController();

  constructor(clock: Clock, random: () => number = Math.random) {
    this.#clock = clock;
    this.#random = random;
  }

  /** The next delay in milliseconds; each call doubles what the one after it may reach. */
  next(atLeastMs = 0): number {
    const ceiling = Math.min(CAP_MS, BASE_MS * 2 ** this.#attempt);
    this.#attempt += 1;
    return atLeastMs + this.#random() * ceiling;
  }

  /** Waits out the next delay; ends early when woken or aborted. */
  async wait(signal: AbortSignal, atLeastMs = 0): Promise<void> {
    this.#nap = new AbortController();
    await this.#clock.sleep(this.next(atLeastMs), AbortSignal.any([signal, this.#nap.signal]));
  }

  /** Ends the current wait. */
  wake(): void {
    this.#nap.abort();
  }

  /** To be called when something worked, so that the next failure is met with a short delay. */
  reset(): void {
    this.#attempt = 0;
  }
}
