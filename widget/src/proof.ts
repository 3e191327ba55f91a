/** The work that a relay may ask for before it opens a session: a search for a number. */

import type { Challenge, Proof } from "./wire.ts";

/** How many hashes are asked of the browser in one go; in between, it does what else there is. */
const SLICE = 256;

/** Finds the number for this idempotency key; undefined where the browser does not hash, or in vain. */
export async function solve(
  { token, hash, max }: Challenge,
  key: string,
  signal: AbortSignal,
): Promise<Proof | undefined> {
  const { subtle } = crypto;
  const encoder = new TextEncoder();
  const hashOf = async (number: number) => {
    const digest = await subtle.digest("SHA-256", encoder.encode(`${key}:${number}`));
    return new DataView(digest).getUint32(0);
  };
  // Pages without HTTPS have none.
  for (let first = 0; subtle && first < max; first += SLICE) {
    signal.throwIfAborted();
    const hashes = await Promise.all(
      Array.from({ length: SLICE }, (_, index) => hashOf(first + index)),
    );
    const found = hashes.indexOf(hash);
    if (found >= 0) return { token, number: first + found };
  }
  return undefined;
}
