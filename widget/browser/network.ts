/** What a network may do to the visitor's posts, staged in the browser. */

import type { BrowserContext, Route } from "playwright-core";

const POSTS = "**/api/v1/messages";

/** Keeps every post from leaving until it is called; posts after that leave as ever. */
export async function holdPosts(context: BrowserContext): Promise<() => Promise<void>> {
  const held: Route[] = [];
  let isReleased = false;
  await context.route(POSTS, async (route) => {
    if (isReleased) await route.continue();
    else held.push(route);
  });
  return async () => {
    isReleased = true;
    // The posts of a page that is gone are gone with it.
    await Promise.allSettled(held.map((route) => route.continue()));
  };
}

/** Lets the next post reach the relay and loses the answer; gives the keys of all posts. */
export async function loseNextAnswer(context: BrowserContext): Promise<readonly string[]> {
  const keys: string[] = [];
  await context.route(POSTS, async (route) => {
    keys.push(route.request().headers()["idempotency-key"] ?? "none");
    if (keys.length > 1) return route.continue();
    await route.fetch();
    await route.abort("connectionreset");
  });
  return keys;
}
