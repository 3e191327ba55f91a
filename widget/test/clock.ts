/** A clock that stands still until a test turns it. */

import type { Clock } from "../src/clock.ts";

interface Sleeper {
  readonly ms: number;
  readonly until: number;
  wake(): void;
}

export class TestClock implements Clock {
  #now = 1_800_000_000_000;
  #sleepers = new Set<Sleeper>();
  #watchers = new Set<() => void>();

  now(): number {
    return this.#now;
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const wake = () => {
        this.#sleepers.delete(sleeper);
        resolve();
      };
      const sleeper = { ms, until: this.#now + ms, wake };
      this.#sleepers.add(sleeper);
      signal.addEventListener("abort", wake, { once: true });
      for (const watcher of this.#watchers) watcher();
    });
  }

  advance(ms: number): void {
    this.#now += ms;
    for (const sleeper of [...this.#sleepers]) if (sleeper.until <= this.#now) sleeper.wake();
  }

  /** Resolves once someone sleeps for a time between the two, and tells for how long. */
  async sleeping(atLeastMs: number, atMostMs = atLeastMs): Promise<number> {
    for (;;) {
      for (const { ms } of this.#sleepers) if (ms >= atLeastMs && ms <= atMostMs) return ms;
      await new Promise<void>((resolve) => {
        const watcher = () => {
          this.#watchers.delete(watcher);
          resolve();
        };
        this.#watchers.add(watcher);
      });
    }
  }
}
