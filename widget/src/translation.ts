/** Fetches the words of a language that the script does not bring along. */

import { base, learn } from "./texts.ts";

/** Of all languages' words; set by the build. */
declare const TEXTS_VERSION: string;

/** How long a page is kept waiting for words, in milliseconds. */
const PATIENCE_MS = 2_000;

/** Resolves once they are known, or are not to be had in time. */
export async function fetchTexts(relay: string, tag: string, signal: AbortSignal): Promise<void> {
  const url = `${relay}/widget/texts/${base(tag)}.json?v=${TEXTS_VERSION}`;
  const inTime = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]);
  try {
    const response = await fetch(url, { credentials: "omit", signal: inTime });
    if (response.ok) learn(tag, await response.json());
  } catch {
    // English will do.
  }
}
