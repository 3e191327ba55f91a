/** Waits for what a test expects to see. */

import assert from "node:assert/strict";

const PATIENCE_MS = 20_000;

/** Looks again until it reads as expected; in the end, fails with the difference. */
export async function until<T>(read: () => T | Promise<T>, expected: T): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const actual = await read();
    if (isSame(actual, expected)) return;
    if (performance.now() > deadline) assert.deepEqual(actual, expected);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

function isSame(actual: unknown, expected: unknown): boolean {
  return JSON.stringify(actual) === JSON.stringify(expected);
}
