import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import type { PosternChat } from "../src/element.ts";
import { holdPosts } from "./network.ts";
import { scene } from "./stage.ts";
import { until } from "./until.ts";

const MANY = 25;

scene(
  "tabs that send in the same instant lose nothing, and nothing goes out twice",
  async (stage) => {
    const release = await holdPosts(stage.context);
    const tabs = [await stage.visit(), await stage.visit()];
    const names = ["here", "there"];
    const texts = (name: string) => Array.from({ length: MANY }, (_, count) => `${name} ${count}`);
    await Promise.all(tabs.map(({ page }, index) => sendAll(page, texts(names[index] ?? ""))));
    for (const { page } of tabs) await page.close();

    const later = await stage.visit();
    await later.open();
    await until(async () => (await later.shown()).length, 2 * MANY);
    await release();
    await until(async () => (await stage.stored()).length, 2 * MANY);
    const stored = await stage.stored();
    for (const name of names) {
      const own = stored.filter((line) => line.startsWith(`visitor: ${name} `));
      assert.deepEqual(
        own,
        texts(name).map((text) => `visitor: ${text}`),
      );
    }
  },
);

scene("what is sent in the moment in which the page is left is kept", async (stage) => {
  stage.echo();
  const release = await holdPosts(stage.context);
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.send("first");
  await visitor.sees("You said: first [Sending…]");
  const loaded = visitor.page.waitForEvent("load");
  await visitor.page.evaluate(keepDatabaseBusy);
  await visitor.page.evaluate(() => {
    document.querySelector<PosternChat>("postern-chat")?.send("last words");
    location.reload();
  });
  await loaded;
  await visitor.open();
  await visitor.sees("You said: first [Sending…]", "You said: last words [Sending…]");
  await release();
  await until(async () => (await stage.stored()).length, 4);
});

/** From when it returns, the records are this page's alone, until the page is left. */
async function keepDatabaseBusy(): Promise<void> {
  const name = `postern:${new URL(location.href).searchParams.get("relay")}:unsent`;
  const opened = indexedDB.open(name);
  await new Promise((resolve) => {
    opened.onsuccess = resolve;
  });
  const records = opened.result.transaction("records", "readwrite").objectStore("records");
  const goOn = () => {
    records.count().onsuccess = goOn;
  };
  goOn();
}

scene("what a tab that crashes has not sent, another sends", async (stage) => {
  stage.echo();
  const release = await holdPosts(stage.context);
  const here = await stage.visit();
  const there = await stage.visit();
  await there.open();
  await here.open();
  await here.send("hold that thought");
  await there.sees("You said: hold that thought [Sending…]");
  const crashed = here.page.waitForEvent("crash");
  const session = await stage.context.newCDPSession(here.page);
  session.send("Page.crash").catch(() => {});
  await crashed;
  await release();
  await there.sees("You said: hold that thought", "Reply: hold that thought");
  assert.equal((await stage.stored()).length, 2);
});

for (const [what, spoil] of [
  ["is not there", () => Reflect.deleteProperty(window, "indexedDB")],
  [
    "refuses to open",
    () => {
      IDBFactory.prototype.open = () => {
        throw new DOMException("Not here.", "SecurityError");
      };
    },
  ],
  [
    "never answers",
    () => {
      IDBFactory.prototype.open = () => ({}) as IDBOpenDBRequest;
    },
  ],
  [
    "is blocked by another script",
    () => {
      const name = `postern:${new URL(location.href).searchParams.get("relay")}:unsent`;
      const opened = indexedDB.open(name, 7);
      opened.onsuccess = () => indexedDB.deleteDatabase(name);
    },
  ],
] as const) {
  scene(`where IndexedDB ${what}, messages are sent all the same`, async (stage) => {
    stage.echo();
    await stage.context.addInitScript(spoil);
    const visitor = await stage.visit();
    await visitor.open();
    await visitor.send("hi");
    await visitor.sees("You said: hi", "Reply: hi");
  });
}

scene("a reset forgets what is unsent, in all tabs", async (stage) => {
  stage.echo();
  const release = await holdPosts(stage.context);
  const here = await stage.visit();
  const there = await stage.visit();
  await there.open();
  await here.open();
  await here.send("forget it");
  await there.sees("You said: forget it [Sending…]");
  await here.page.evaluate(() => {
    const element = document.querySelector<PosternChat>("postern-chat");
    element?.reset();
    element?.send("instead");
  });
  for (const tab of [here, there]) await tab.sees("You said: instead [Sending…]");
  await release();
  await here.sees("You said: instead", "Reply: instead");
  assert.deepEqual(await stage.stored(), ["visitor: instead", "agent: instead"]);
});

function sendAll(page: Page, texts: readonly string[]): Promise<void> {
  return page.evaluate(async (texts) => {
    await customElements.whenDefined("postern-chat");
    const element = document.querySelector<PosternChat>("postern-chat");
    for (const text of texts) element?.send(text);
  }, texts);
}
