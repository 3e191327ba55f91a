/** How long an agent's first byte takes to the visitor's screen, over the real poller and relay. */

import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import { scene } from "./stage.ts";

const REPLIES = 100;
/** Only a timer in the way could take this long; the screen itself is drawn every 17 ms. */
const NO_TIMER_MS = 150;

scene("an agent's first words are on the screen in milliseconds", async (stage) => {
  const agent = await stage.agent();
  const visitor = await stage.visit();
  await visitor.open();
  const took: number[] = [];
  for (let number = 0; number < REPLIES; number++) {
    await visitor.send("Say something.");
    const answer = await agent.begins();
    const word = `word${number}.`;
    const seen = appears(visitor.page, word);
    // The page must be looking before there is something to see.
    await visitor.page.evaluate(() => undefined);
    const written = performance.timeOrigin + performance.now();
    answer.write(word);
    took.push((await seen) - written);
    answer.end();
    await visitor.waiting.waitFor({ state: "hidden" });
  }
  took.sort((a, b) => a - b);
  const [median = 0, p99 = 0] = [took[REPLIES / 2], took[Math.floor(REPLIES * 0.99)]];
  const figures = `median ${median.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`;
  console.log(`An agent's first byte to the visitor's screen, ${REPLIES} times: ${figures}`);
  assert(median < NO_TIMER_MS, figures);
});

/** When a word is in the page, in milliseconds since 1970. */
function appears(page: Page, word: string): Promise<number> {
  return page.evaluate(
    (word) =>
      new Promise<number>((resolve) => {
        const root = document.querySelector("postern-chat")?.shadowRoot;
        if (!root) return;
        const look = () => {
          if (!root.textContent?.includes(word)) return;
          observer.disconnect();
          resolve(performance.timeOrigin + performance.now());
        };
        const observer = new MutationObserver(look);
        observer.observe(root, { childList: true, subtree: true, characterData: true });
      }),
    word,
  );
}
