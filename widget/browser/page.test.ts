import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import { scene } from "./stage.ts";
import { until } from "./until.ts";

scene("the keyboard alone is enough", async (stage) => {
  stage.echo();
  const visitor = await stage.visit();
  const { keyboard } = visitor.page;
  await visitor.bubble.waitFor();
  await visitor.page.getByRole("button", { name: "Order" }).focus();
  await keyboard.press("Tab");
  assert.equal(await focused(visitor.page), "bubble");

  await keyboard.press("Enter");
  await visitor.panel.waitFor();
  assert.equal(await focused(visitor.page), "input");
  await keyboard.type("two");
  await keyboard.press("Shift+Enter");
  await keyboard.type("lines");
  await keyboard.press("Enter");
  await visitor.sees("You said: two\nlines", "Reply: two\nlines");
  assert.equal(await focused(visitor.page), "input");
  assert.equal(await visitor.input.inputValue(), "");

  await keyboard.press("Escape");
  await visitor.panel.waitFor({ state: "hidden" });
  assert.equal(await focused(visitor.page), "bubble");
});

scene("keys typed into the chat work no shortcut of the page", async (stage) => {
  const visitor = await stage.visit();
  await visitor.page.evaluate(() => {
    document.addEventListener("keydown", ({ key }) => document.body.append(key));
  });
  const before = await visitor.page.locator("body").innerText();
  await visitor.open();
  await visitor.page.keyboard.type("/");
  assert.equal(await visitor.input.inputValue(), "/");
  assert.equal(await visitor.page.locator("body").innerText(), before);
});

for (const [width, height] of [
  [390, 844],
  [320, 568],
] as const) {
  scene(
    `on a screen of ${width} by ${height} the chat fills it and nothing overflows`,
    async (stage) => {
      stage.echo();
      const visitor = await stage.visit();
      await visitor.open();
      await until(() => visitor.panel.boundingBox(), { x: 0, y: 0, width, height });

      const long = `https://bakery.example/${"rye".repeat(80)} ${"crust ".repeat(200)}`.trim();
      await visitor.send(long);
      await visitor.sees(`You said: ${long}`, `Reply: ${long}`);
      assert.deepEqual(await overflowing(visitor.page), []);
    },
    { browser: { viewport: { width, height }, isMobile: true, hasTouch: true } },
  );
}

scene("a growing draft does not cover the newest message", async (stage) => {
  stage.echo();
  const visitor = await stage.visit();
  await visitor.open();
  const long = "crust\n".repeat(40).trim();
  await visitor.send(long);
  await visitor.sees(`You said: ${long}`, `Reply: ${long}`);
  const distance = () =>
    visitor.widget
      .getByRole("log")
      .evaluate((log) => Math.round(log.scrollHeight - log.scrollTop - log.clientHeight));
  await until(distance, 0);

  const before = await visitor.widget.getByRole("log").boundingBox();
  await visitor.input.fill("one\ntwo\nthree\nfour");
  const after = await visitor.widget.getByRole("log").boundingBox();
  assert(before && after && after.height < before.height - 40);
  await until(distance, 0);
});

scene(
  "on a low screen the whole panel is seen",
  async (stage) => {
    const visitor = await stage.visit();
    await visitor.open();
    const { x = -1, y = -1, width = 0, height = 0 } = (await visitor.panel.boundingBox()) ?? {};
    assert(x >= 0 && y >= 0 && x + width <= 844 && y + height <= 390);
    assert.deepEqual(await overflowing(visitor.page), []);
  },
  { browser: { viewport: { width: 844, height: 390 }, isMobile: true, hasTouch: true } },
);

scene(
  "the page looks and is laid out as it was without the widget",
  async (stage) => {
    const without = await stage.visit({ lines: 0 });
    const expected = await looks(without.page);

    const visitor = await stage.visit();
    await visitor.bubble.waitFor();
    assert.deepEqual(await looks(visitor.page), expected);
    await visitor.open();
    assert.deepEqual(await looks(visitor.page), expected);
  },
  { browser: { reducedMotion: "reduce" } },
);

scene(
  "the widget looks as it does elsewhere on a page whose style grabs all",
  async (stage) => {
    const elsewhere = await stage.visit();
    await elsewhere.open();
    const expected = await looks(elsewhere.page, "postern-chat");

    const visitor = await stage.visit({ style: "grabbing" });
    await visitor.open();
    assert.deepEqual(await looks(visitor.page, "postern-chat"), expected);
  },
  { browser: { reducedMotion: "reduce" } },
);

scene("the script line twice makes one bubble", async (stage) => {
  const visitor = await stage.visit({ lines: 2 });
  await visitor.bubble.waitFor();
  assert.equal(await visitor.widget.count(), 1);
});

scene("an element that is removed ends its connections", async (stage) => {
  stage.echo();
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.send("hi");
  await visitor.sees("You said: hi", "Reply: hi");
  await until(() => stage.relay.streams(), 1);

  await visitor.widget.evaluate((element) => element.remove());
  await until(() => stage.relay.streams(), 0);

  await visitor.page.evaluate(() => {
    const element = document.createElement("postern-chat");
    element.dataset.title = "Ask us";
    element.dataset.relay = new URL(document.querySelector("script")?.src ?? "").origin;
    document.body.append(element);
  });
  await visitor.open();
  await visitor.sees("You said: hi", "Reply: hi");
  await until(() => stage.relay.streams(), 1);
});

scene("what the page's policy forbids would be noticed", async (stage) => {
  const visitor = await stage.visit();
  const forbidden = visitor.page.evaluate(() => {
    document.body.style.cssText = "";
    document.body.innerHTML = "<p style='color: red'>";
  });
  await assert.rejects(forbidden, /TrustedHTML/);
  visitor.expectComplaint(/TrustedHTML/);
});

/** The part of the widget that has the focus. */
function focused(page: Page): Promise<string | null | undefined> {
  return page.evaluate(() =>
    document.activeElement?.shadowRoot?.activeElement?.getAttribute("part"),
  );
}

/** What is wider than the place it has, or reaches out of the screen. */
function overflowing(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const root = document.querySelector("postern-chat")?.shadowRoot;
    const all = [
      document.documentElement,
      ...(root?.querySelectorAll<HTMLElement>("[part]") ?? []),
    ];
    return all
      .filter((element) => element.checkVisibility({ visibilityProperty: true }))
      .filter((element) => {
        const { left, right } = element.getBoundingClientRect();
        return element.scrollWidth > element.clientWidth + 1 || left < 0 || right > innerWidth;
      })
      .map((element) => element.getAttribute("part") ?? element.tagName);
  });
}

/** Box and computed style of everything on the page but the widget, or of the widget's parts. */
function looks(page: Page, host?: string): Promise<unknown[]> {
  return page.evaluate((host) => {
    const widget = document.querySelector("postern-chat");
    const elements = host
      ? [...(widget?.shadowRoot?.querySelectorAll("*") ?? [])]
      : [...document.querySelectorAll("html, body, main, main *")];
    return elements.map((element) => {
      const { x, y, width, height } = element.getBoundingClientRect();
      const style = getComputedStyle(element);
      const values = Object.fromEntries(
        [...style].map((name) => [name, style.getPropertyValue(name)]),
      );
      return { tag: element.tagName, box: [x, y, width, height], values };
    });
  }, host);
}
