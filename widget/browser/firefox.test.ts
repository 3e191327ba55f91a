/** The main path in a stock Firefox, driven by WebDriver BiDi. */

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Browser, type BrowserContext, launch, type Page } from "puppeteer-core";
import { HandPoller, type Lease } from "./hand-poller.ts";
import { Relay } from "./relay.ts";
import { Site } from "./site.ts";
import { until } from "./until.ts";

const FIREFOX = process.env.POSTERN_FIREFOX ?? "/usr/bin/firefox-esr";

let browser: Browser;

before(async () => {
  // The site has no icon, and its policy would not let one be loaded.
  const extraPrefsFirefox = { "browser.chrome.site_icons": false };
  browser = await launch({ browser: "firefox", executablePath: FIREFOX, extraPrefsFirefox });
});

after(async () => {
  await browser?.close();
});

/** A relay, a site, and one visitor's profile; no page may have complained at its end. */
class World {
  readonly relay: Relay;
  readonly complaints: string[] = [];
  #site: Site;
  #poller: HandPoller;
  #profile: BrowserContext;

  constructor(relay: Relay, site: Site, profile: BrowserContext) {
    this.relay = relay;
    this.#site = site;
    this.#poller = new HandPoller(relay.address);
    this.#profile = profile;
  }

  /** A page of the site in a new tab, with the chat opened by the keyboard. */
  async visit(): Promise<Tab> {
    const page = await this.#profile.newPage();
    page.on("console", (message) => {
      if (["error", "warn"].includes(message.type())) this.complaints.push(message.text());
    });
    page.on("pageerror", (error) => this.complaints.push(String(error)));
    const tab = new Tab(page);
    await page.goto(this.#site.url());
    await tab.open();
    return tab;
  }

  lease(): Promise<Lease> {
    return this.#poller.lease();
  }

  async close(): Promise<void> {
    await this.#poller.close();
    await this.#profile.close();
    await this.#site.close();
  }
}

class Tab {
  readonly page: Page;

  constructor(page: Page) {
    this.page = page;
  }

  async open(): Promise<void> {
    const bubble = await this.page.waitForSelector(">>> [part=bubble]", { visible: true });
    await bubble?.focus();
    await this.page.keyboard.press("Enter");
    await this.seesFocusOn("input");
  }

  async reload(): Promise<void> {
    await this.page.reload();
    await this.open();
  }

  async type(text: string): Promise<void> {
    await this.page.keyboard.type(text);
    await this.page.keyboard.press("Enter");
  }

  /** Resolves once this, and nothing else, is the conversation. */
  async sees(...expected: string[]): Promise<void> {
    await until(() => this.page.$$eval(">>> [part~=message]", readLines), expected);
  }

  async seesFocusOn(part: string): Promise<void> {
    await until(() => this.page.evaluate(focusedPart), part);
  }

  /** The HTML of the newest message's text. */
  async markup(): Promise<string | undefined> {
    const texts = await this.page.$$eval(">>> [part=text]", (all) => all.map((e) => e.innerHTML));
    return texts.at(-1);
  }
}

function readLines(messages: Element[]): string[] {
  return messages.map((message) => {
    const parts = message.querySelectorAll<HTMLElement>(".unseen, [part=text], [part=state]");
    const seen = [...parts].filter((part) => part.checkVisibility());
    return seen.map((part) => part.innerText).join(" ");
  });
}

function focusedPart(): string | null | undefined {
  return document.activeElement?.shadowRoot?.activeElement?.getAttribute("part");
}

function inFirefox(name: string, play: (world: World) => Promise<void>): void {
  test(`in Firefox, ${name}`, async () => {
    const folder = await mkdtemp(join(tmpdir(), "postern-firefox-"));
    const relay = await Relay.start(folder);
    const site = await Site.start(relay.address);
    const world = new World(relay, site, await browser.createBrowserContext());
    try {
      await play(world);
      assert.deepEqual(world.complaints, []);
    } finally {
      await world.close();
      await relay.kill();
      await rm(folder, { recursive: true, force: true });
    }
  });
}

inFirefox("a reply is written, shown as Markdown, and there after a reload", async (world) => {
  const tab = await world.visit();
  await tab.type("When do you open?");
  await tab.sees("You said: When do you open? Sent");
  const lease = await world.lease();
  await lease.writes("At **six**");
  await tab.sees("You said: When do you open?", "Reply so far: At six");
  await lease.finishes(", or `earlier`.");
  const all = ["You said: When do you open?", "Reply: At six, or earlier."];
  await tab.sees(...all);
  assert.match(String(await tab.markup()), /<strong>six<\/strong>, or <code>earlier<\/code>/);

  await tab.page.keyboard.press("Escape");
  await tab.seesFocusOn("bubble");
  await tab.reload();
  await tab.sees(...all);
});

inFirefox("two tabs share one stream, and either stops the reply", async (world) => {
  const here = await world.visit();
  await here.type("Tell me all");
  const lease = await world.lease();
  await lease.writes("So far");
  await here.sees("You said: Tell me all", "Reply so far: So far");

  const there = await world.visit();
  await there.sees("You said: Tell me all", "Reply so far: So far");
  assert.equal(await world.relay.streams(), 1);
  await there.page.keyboard.press("Tab");
  await there.seesFocusOn("stop");
  await there.page.keyboard.press("Enter");
  await lease.stops();
  for (const tab of [here, there]) await tab.sees("You said: Tell me all", "Reply: So far Stopped");

  await here.page.close();
  await there.page.bringToFront();
  await there.page.keyboard.down("Shift");
  await there.page.keyboard.press("Tab");
  await there.page.keyboard.up("Shift");
  await there.seesFocusOn("input");
  await there.type("Go on");
  await (await world.lease()).finishes("And on.");
  await there.sees(
    "You said: Tell me all",
    "Reply: So far Stopped",
    "You said: Go on",
    "Reply: And on.",
  );
});
