import assert from "node:assert/strict";
import { check } from "./picture.ts";
import { DEVICES, scene } from "./stage.ts";
import { until } from "./until.ts";
import type { Visitor } from "./visitor.ts";

const TITLE = { "data-title": "Ask us" };
const DAY_MS = 24 * 60 * 60_000;

scene("a question to begin with is sent by a press, and they are gone", async (stage) => {
  stage.echo();
  const starters = "When do you open? | Is there rye today?";
  const visitor = await stage.visit({ attributes: { ...TITLE, "data-starters": starters } });
  await visitor.open();
  const question = visitor.widget.getByRole("button", { name: "Is there rye today?" });
  await question.click();
  await visitor.sees("You said: Is there rye today?", "Reply: Is there rye today?");
  await question.waitFor({ state: "hidden" });
});

scene("the day is named where a new one begins", async (stage) => {
  stage.echo();
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.send("hi");
  await visitor.sees("You said: hi", "Reply: hi");
  assert.equal(await visitor.widget.locator("[part=day]").count(), 0);

  await stage.context.clock.setFixedTime(Date.now() + DAY_MS);
  const later = await stage.visit();
  await later.open();
  await later.widget.getByText("yesterday").waitFor();
  const parts = later.widget.locator("[part=day], [part~=message]");
  const first = await parts.evaluateAll((all) => all.map((node) => node.getAttribute("part")));
  assert.deepEqual(first, ["day", "message", "message"]);
});

scene("the page's title counts what is unread, and is itself again", async (stage) => {
  const agent = await stage.agent();
  const visitor = await stage.visit();
  const { page } = visitor;
  await visitor.open();
  await visitor.send("one");
  await visitor.send("two");
  await visitor.close();
  await agent.replies("1");
  await until(() => page.title(), "(1) The bakery");
  await agent.replies("2");
  await until(() => page.title(), "(2) The bakery");
  await visitor.open();
  await until(() => page.title(), "The bakery");
});

scene("a reply that comes while the page is not looked at is unread", async (stage) => {
  const agent = await stage.agent();
  const visitor = await stage.visit();
  const { page } = visitor;
  await visitor.open();
  await visitor.send("hi");
  await turn("hidden");
  await agent.replies("hello");
  await until(() => page.title(), "(1) The bakery");
  await turn("visible");
  await until(() => page.title(), "The bakery");

  async function turn(state: string) {
    await page.evaluate((state) => {
      Object.defineProperty(document, "hidden", { configurable: true, value: state === "hidden" });
      document.dispatchEvent(new Event("visibilitychange"));
    }, state);
  }
});

for (const sound of ["true", "false"]) {
  scene(
    `with data-sound="${sound}", a reply is heard in ${sound === "true" ? "one tab" : "no tab"}`,
    async (stage) => {
      stage.echo();
      await stage.context.addInitScript(() => {
        const { start } = OscillatorNode.prototype;
        Object.assign(window, { notes: 0 });
        OscillatorNode.prototype.start = function (...when) {
          Object.assign(window, { notes: Reflect.get(window, "notes") + 1 });
          start.apply(this, when);
        };
      });
      const attributes = { ...TITLE, "data-sound": sound };
      const tabs = [await stage.visit({ attributes }), await stage.visit({ attributes })];
      const [visitor] = tabs as [Visitor];
      for (const tab of tabs) await tab.open();
      await visitor.send("hi");
      for (const tab of tabs) await tab.sees("You said: hi", "Reply: hi");
      const heard = ({ page }: Visitor) => page.evaluate(() => Reflect.get(window, "notes") > 0);
      const heardIn = async () => (await Promise.all(tabs.map(heard))).filter(Boolean).length;
      await until(heardIn, sound === "true" ? 1 : 0);
    },
  );
}

for (const [reopen, state] of [
  ["on", "open"],
  ["off", "closed"],
] as const) {
  scene(
    `with data-reopen="${reopen}", a panel left open is ${state} on the next page`,
    async (stage) => {
      const attributes = { ...TITLE, "data-reopen": reopen };
      const visitor = await stage.visit({ attributes });
      await visitor.open();
      await visitor.page.reload();
      await visitor.bubble.waitFor({ state: "attached" });
      assert.equal(await visitor.panel.isVisible(), state === "open");
      assert.equal(await visitor.page.evaluate(() => document.activeElement?.tagName), "BODY");
      const other = await stage.visit({ attributes });
      await other.bubble.waitFor();

      await visitor.open();
      await visitor.close();
      await visitor.page.reload();
      await visitor.bubble.waitFor();
    },
  );
}

scene("whoever reads further up can jump to the latest message", async (stage) => {
  stage.echo();
  const visitor = await stage.visit();
  await visitor.open();
  const long = "crust\n".repeat(60).trim();
  await visitor.send(long);
  await visitor.sees(`You said: ${long}`, `Reply: ${long}`);
  const latest = visitor.widget.getByRole("button", { name: "Jump to latest" });
  assert.equal(await latest.isVisible(), false);
  const log = visitor.widget.getByRole("log");
  await log.evaluate((log) => log.scrollTo(0, 0));
  await latest.click();
  await latest.waitFor({ state: "hidden" });
  await until(
    () => log.evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight < 2),
    true,
  );
});

scene(
  "a keyboard on the screen covers nothing",
  async (stage) => {
    const visitor = await stage.visit();
    await visitor.open();
    await visitor.page.evaluate(() => {
      Object.defineProperty(visualViewport, "height", { value: 400 });
      Object.defineProperty(visualViewport, "offsetTop", { value: 20 });
      visualViewport?.dispatchEvent(new Event("resize"));
    });
    await until(() => visitor.panel.boundingBox(), { x: 0, y: 20, width: 390, height: 400 });
  },
  { browser: DEVICES.mobile },
);

scene(
  "the page can lay it out by custom properties",
  async (stage) => {
    const visitor = await stage.visit();
    await visitor.open();
    await visitor.page.evaluate(() => {
      const style = document.querySelector<HTMLElement>("postern-chat")?.style;
      const values = {
        width: "300px",
        height: "500px",
        gap: "50px",
        "z-index": "7",
        radius: "0px",
      };
      for (const [name, value] of Object.entries(values)) {
        style?.setProperty(`--postern-${name}`, value);
      }
    });
    const expected = { x: 1100 - 350, y: 760 - 550, width: 300, height: 500 };
    await until(() => visitor.panel.boundingBox(), expected);
    const { zIndex, borderRadius } = await visitor.panel.evaluate((panel) =>
      getComputedStyle(panel),
    );
    assert.deepEqual([zIndex, borderRadius], ["7", "0px"]);
  },
  { browser: DEVICES.desktop },
);

for (const accent of ["#ffffff", "#ffe14d", "#767676", "#0b0b0b"]) {
  for (const theme of ["light", "dark"]) {
    scene(
      `${accent} can be read as an accent, and ${theme} is what it is told to be`,
      async (stage) => {
        const agent = await stage.agent();
        const visitor = await stage.visit({
          policy: "none",
          attributes: {
            ...TITLE,
            "data-accent": accent,
            "data-theme": theme,
            "data-starters": "Is there rye today?|When do you open?",
          },
        });
        await visitor.bubble.waitFor();
        await check(visitor.page, `accent-closed-${accent.slice(1)}-${theme}`);
        await visitor.open();
        await check(visitor.page, `accent-starters-${accent.slice(1)}-${theme}`);
        await visitor.send("Is there rye today?");
        await agent.replies("There is.");
        await visitor.widget.getByText("There is.").waitFor();
        await check(visitor.page, `accent-${accent.slice(1)}-${theme}`);
        const scheme = await visitor.panel.evaluate((panel) => getComputedStyle(panel).colorScheme);
        assert.equal(scheme, theme);
      },
      { browser: { ...DEVICES.desktop, colorScheme: "light", reducedMotion: "reduce" } },
    );
  }
}
