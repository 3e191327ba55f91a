/** Time, as an argument: the page's own clock here, one that tests turn by hand there. */

export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Resolves after the time has passed, or as soon as the signal aborts; never rejects. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal.addEventListener("abort", done);
    }),
};

export class TimeoutError extends Error {}

/** Gives the result of `work`, or throws `TimeoutError` when it takes longer than `ms`. */
export async function within<T>(clock: Clock, ms: number, work: Promise<T>): Promise<T> {
  const settled = new AbortController();
  const timeout = clock.sleep(ms, settled.signal).then((): never => {
    throw new TimeoutError(`Nothing came within ${ms} ms.`);
  });
  try {
    return await Promise.race([work, timeout]);
  } finally {
    settled.abort();
  }
}
