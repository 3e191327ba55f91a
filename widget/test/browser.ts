/** A fake relay and one browser, anew for each test of the file that imports this. */

import { afterEach, beforeEach } from "node:test";
import { TestClock } from "./clock.ts";
import { Device } from "./device.ts";
import { FakeRelay } from "./fake-relay.ts";
import { TestLocks } from "./locks.ts";
import { Page } from "./page.ts";

export let relay: FakeRelay;
export let clock: TestClock;
export let device: Device;
let locks: TestLocks;
let pages: Page[];

beforeEach(async () => {
  relay = await FakeRelay.start();
  clock = new TestClock();
  device = new Device();
  locks = new TestLocks();
  pages = [];
});

afterEach(async () => {
  for (const page of pages) page.leave();
  await relay.stop();
});

/** Another tab of the browser, on a page of this site. */
export function visit(site?: string): Page {
  const platform = { ...device, clock, locks, page: `page-${pages.length}` };
  const page = new Page(relay.address, platform, site);
  pages.push(page);
  return page;
}
