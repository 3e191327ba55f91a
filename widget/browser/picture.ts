/** Pictures for whoever judges the looks, each checked by the rules of accessibility. */

import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import axe from "axe-core";
import type { Page } from "playwright-core";

const SCREENSHOTS = "browser/screenshots";

/** Takes a picture, and has axe look at what is on it. */
export async function check(page: Page, name: string): Promise<void> {
  await mkdir(SCREENSHOTS, { recursive: true });
  await writeFile(`${SCREENSHOTS}/${name}.png`, await page.screenshot());
  if (!(await page.evaluate("'axe' in window"))) await page.evaluate(axe.source);
  const found = await page.evaluate(`axe.run().then(({ violations }) => violations.flatMap(
    ({ help, nodes }) => nodes.map(({ target, failureSummary }) => [help, target, failureSummary])))`);
  assert.deepEqual(found, [], name);
}
