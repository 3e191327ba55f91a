/** One test's world: a relay, a site, a browser profile; all of it is gone after the test. */

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
} from "playwright-core";
import { HandPoller } from "./hand-poller.ts";
import { Agent, Poller } from "./poller.ts";
import { type HeldBack, ReverseProxy } from "./proxy.ts";
import { type Limits, Relay } from "./relay.ts";
import { type PageOptions, Site } from "./site.ts";
import { until } from "./until.ts";
import { Visitor } from "./visitor.ts";

const CHROMIUM = process.env.POSTERN_CHROMIUM ?? "/usr/bin/chromium";
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const PATIENCE_MS = 20_000;
const SCENE_TIMEOUT_MS = 60_000;

let browser: Browser;

before(async () => {
  browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: FLAGS,
    handleSIGINT: false,
    handleSIGTERM: false,
  });
});

after(async () => {
  await browser?.close();
});

/** Screens that looks are judged on. */
export const DEVICES = {
  desktop: { viewport: { width: 1100, height: 760 } },
  mobile: { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true },
};

export interface StageOptions {
  readonly limits?: Limits;
  readonly browser?: BrowserContextOptions;
}

/** A test on a stage of its own; no page may have complained at its end. */
export function scene(
  name: string,
  play: (stage: Stage) => Promise<void>,
  options: StageOptions = {},
): void {
  test(name, async (context) => {
    const stage = await Stage.set(options);
    try {
      await Promise.race([play(stage), giveUp()]);
      stage.checkComplaints();
    } catch (error) {
      for (const line of stage.report()) context.diagnostic(line);
      throw error;
    } finally {
      await stage.strike();
    }
  });
}

/** Fails a scene that hangs; by the runner's own timeout, its stage would not be struck. */
async function giveUp(): Promise<never> {
  await setTimeout(SCENE_TIMEOUT_MS, undefined, { ref: false });
  throw new Error(`The scene was not over after ${SCENE_TIMEOUT_MS} ms.`);
}

export class Stage {
  readonly folder: string;
  /** One browser profile; its pages are the tabs of one visitor. */
  readonly context: BrowserContext;
  #relay: Relay | undefined;
  #site: Site | undefined;
  #visitors: Visitor[] = [];
  #pollers: Poller[] = [];
  #struck: { close(): Promise<void> }[] = [];

  private constructor(folder: string, context: BrowserContext) {
    this.folder = folder;
    this.context = context;
    context.setDefaultTimeout(PATIENCE_MS);
  }

  static async set({ limits, browser: options }: StageOptions): Promise<Stage> {
    const folder = await mkdtemp(join(tmpdir(), "postern-browser-"));
    const stage = new Stage(folder, await browser.newContext(options ?? {}));
    try {
      stage.#relay = await Relay.start(folder, limits);
      stage.#site = await Site.start(stage.#relay.address);
      return stage;
    } catch (error) {
      await stage.strike();
      throw error;
    }
  }

  get relay(): Relay {
    assert(this.#relay);
    return this.#relay;
  }

  get site(): Site {
    assert(this.#site);
    return this.#site;
  }

  /** A page of the site in a new tab. */
  async visit(page: PageOptions = {}): Promise<Visitor> {
    const visitor = await Visitor.arrive(this.context, this.site.url(page));
    this.#visitors.push(visitor);
    return visitor;
  }

  /** Starts the poller with an agent that says what it is told. */
  echo(): Poller {
    return this.poller(["--agent", "echo"]);
  }

  /** Starts the poller with these flags for its agent. */
  poller(agent: readonly string[]): Poller {
    const poller = Poller.start(this.relay.address, this.folder, agent);
    this.#pollers.push(poller);
    return this.strikeLater(poller);
  }

  /** Gives the test a poller to work by hand. */
  handPoller(): HandPoller {
    return this.strikeLater(new HandPoller(this.relay.address));
  }

  /** Puts a proxy in front of the relay. */
  async proxy(holdsBack: HeldBack = "nothing"): Promise<ReverseProxy> {
    return this.strikeLater(await ReverseProxy.start(this.relay.address, holdsBack));
  }

  /** Takes the network away; the browser itself would leave open what is open already. */
  async goOffline(proxy: ReverseProxy): Promise<void> {
    await this.context.setOffline(true);
    proxy.cut();
    await until(() => this.relay.streams(), 0);
  }

  async goOnline(): Promise<void> {
    await this.context.setOffline(false);
  }

  /** Starts the poller with an agent that waits for the test's words. */
  async agent(): Promise<Agent> {
    const agent = this.strikeLater(await Agent.start());
    this.poller(agent.flags);
    return agent;
  }

  /** Closes it when the test is over. */
  strikeLater<T extends { close(): Promise<void> }>(prop: T): T {
    this.#struck.push(prop);
    return prop;
  }

  /** What the relay has stored of the only session there is, as its operator sees it. */
  async stored(): Promise<string[]> {
    const [id, ...others] = await this.relay.sessionIds();
    assert.equal(others.length, 0, "There is more than one session.");
    if (id === undefined) return [];
    return (await this.relay.said(id)).map(({ role, text }) => `${role}: ${text}`);
  }

  checkComplaints(): void {
    for (const { complaints } of this.#visitors) assert.deepEqual(complaints, []);
  }

  /** What pages and processes had to say, for whoever looks into a failure. */
  report(): string[] {
    const complaints = this.#visitors.flatMap(({ complaints }) => complaints);
    return [...complaints, ...(this.#relay?.log ?? []), ...this.#pollers.flatMap(({ log }) => log)];
  }

  async strike(): Promise<void> {
    await this.context.close();
    for (const prop of this.#struck.reverse()) await prop.close();
    await this.#site?.close();
    await this.#relay?.kill();
    await rm(this.folder, { recursive: true, force: true });
  }
}
