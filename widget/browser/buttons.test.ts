import assert from "node:assert/strict";
import type { Locator } from "playwright-core";
import { holdPosts } from "./network.ts";
import { check } from "./picture.ts";
import { DEVICES, scene } from "./stage.ts";
import { until } from "./until.ts";
import type { Visitor } from "./visitor.ts";

const FAILED_REQUEST = /^Failed to load resource: /;
const OFFERED = ["Yes, please", "No, thanks"];

const offers = ({ widget }: Visitor) => widget.getByRole("group", { name: "Suggested answers" });
const offered = (visitor: Visitor) => offers(visitor).getByRole("button").allInnerTexts();
const up = ({ widget }: Visitor) => widget.getByRole("button", { name: "Helpful", exact: true });
const down = ({ widget }: Visitor) => widget.getByRole("button", { name: "Not helpful" });
const pressed = (button: Locator) => button.getAttribute("aria-pressed");
const thumbs = (visitor: Visitor) => Promise.all([up(visitor), down(visitor)].map(pressed));
const opacity = (node: Locator) => node.evaluate((node) => getComputedStyle(node).opacity);

scene(
  "an offered answer is sent by a press, and the offer is gone",
  async (stage) => {
    const poller = stage.handPoller();
    const visitor = await stage.visit();
    await visitor.open();
    await visitor.send("Bread?");
    const lease = await poller.lease();
    await lease.writes("Shall I ");
    await visitor.sees("You said: Bread?", "Reply so far: Shall I");
    assert.equal(await offers(visitor).isVisible(), false);
    await lease.finishes("slice it?", OFFERED);
    await until(() => offered(visitor), OFFERED);
    for (const button of await offers(visitor).getByRole("button").all()) {
      const { width = 0, height = 0 } = (await button.boundingBox()) ?? {};
      assert(width >= 44 && height >= 44);
    }

    await offers(visitor).getByText("Yes, please").click();
    await offers(visitor).waitFor({ state: "hidden" });
    const answer = await poller.lease();
    assert.equal(answer.message, "Yes, please");
    await answer.finishes("Done.");
    await visitor.sees(
      "You said: Bread?",
      "Reply: Shall I slice it?",
      "You said: Yes, please",
      "Reply: Done.",
    );
  },
  { browser: { reducedMotion: "reduce" } },
);

scene("an offer is there again after a reload, and answered by the keyboard", async (stage) => {
  const poller = stage.handPoller();
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.send("Bread?");
  await (await poller.lease()).finishes("Shall I slice it?", OFFERED);
  await offers(visitor).waitFor();
  await visitor.page.reload();
  await visitor.open();
  await until(() => offered(visitor), OFFERED);

  await visitor.input.focus();
  // Past the button that attaches files.
  await visitor.page.keyboard.press("Shift+Tab");
  await visitor.page.keyboard.press("Shift+Tab");
  await visitor.page.keyboard.press("Enter");
  await visitor.sees("You said: Bread?", "Reply: Shall I slice it?", "You said: No, thanks [Sent]");
  const log = visitor.widget.getByRole("log");
  assert(await log.evaluate((log: Element) => log.matches(":focus")));
});

scene("an offer ends with the next reply, and with whatever the visitor writes", async (stage) => {
  const poller = stage.handPoller();
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.send("Bread?");
  const lease = await poller.lease();
  await lease.finishes("Shall I slice it?", OFFERED);
  await offers(visitor).waitFor();
  await lease.adds("It is still warm.");
  await offers(visitor).waitFor({ state: "hidden" });

  await visitor.send("And cake?");
  await (await poller.lease()).finishes("With cream?", ["Cream"]);
  await until(() => offered(visitor), ["Cream"]);
  const release = await holdPosts(stage.context);
  await visitor.send("Wait");
  await offers(visitor).waitFor({ state: "hidden" });
  await release();
});

scene("a thumb is pressed, changed, taken back, and there after a reload", async (stage) => {
  stage.echo();
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.send("hi");
  await up(visitor).click();
  await until(() => stage.relay.ratings(), { up: 1, down: 0 });
  await until(() => thumbs(visitor), ["true", "false"]);

  await down(visitor).focus();
  await visitor.page.keyboard.press("Enter");
  await until(() => stage.relay.ratings(), { up: 0, down: 1 });
  await until(() => thumbs(visitor), ["false", "true"]);
  await visitor.page.reload();
  await visitor.open();
  await until(() => thumbs(visitor), ["false", "true"]);

  await down(visitor).click();
  await until(() => stage.relay.ratings(), { up: 0, down: 0 });
  await until(() => thumbs(visitor), ["false", "false"]);
});

scene("thumbs of earlier replies are quiet until they are asked for", async (stage) => {
  stage.echo();
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.send("one");
  await visitor.sees("You said: one", "Reply: one");
  await visitor.send("two");
  await visitor.sees("You said: one", "Reply: one", "You said: two", "Reply: two");
  const [first, last] = [up(visitor).first(), up(visitor).last()];
  await until(() => opacity(first), "0");
  await until(() => opacity(last), "1");
  await visitor.widget.locator("[data-role=agent]").first().hover();
  await until(() => opacity(first), "1");
  await visitor.input.hover();
  await until(() => opacity(first), "0");
  await first.focus();
  await until(() => opacity(first), "1");
  await first.press("Enter");
  await visitor.input.focus();
  await until(() => opacity(first), "1");
});

scene("a rating that finds no network is made up for", async (stage) => {
  const proxy = await stage.proxy();
  stage.echo();
  const visitor = await stage.visit({ relay: proxy.address });
  await visitor.open();
  await visitor.send("hi");
  await up(visitor).waitFor();
  await stage.goOffline(proxy);
  const failed = visitor.page.waitForEvent("requestfailed", (request) =>
    request.url().endsWith("/feedback"),
  );
  await up(visitor).click();
  await failed;
  await until(() => thumbs(visitor), ["true", "false"]);
  await down(visitor).click();
  await stage.goOnline();
  await until(() => stage.relay.ratings(), { up: 0, down: 1 });
  visitor.expectComplaint(FAILED_REQUEST);
});

scene("the page is told of a rating, and may do without them", async (stage) => {
  stage.echo();
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.send("hi");
  await up(visitor).waitFor();
  await visitor.page.evaluate(() => {
    const told: unknown[] = [];
    Object.assign(window, { told });
    addEventListener("postern:feedback", (event) => told.push((event as CustomEvent).detail));
  });
  await up(visitor).click();
  await until(() => thumbs(visitor), ["true", "false"]);
  await up(visitor).click();
  const told = await visitor.page.evaluate(() => Reflect.get(window, "told"));
  assert.deepEqual(told, [
    { id: 2, rating: "up" },
    { id: 2, rating: null },
  ]);

  const attributes = { "data-title": "Ask us", "data-feedback": "off" };
  const other = await stage.visit({ attributes });
  await other.open();
  await other.sees("You said: hi", "Reply: hi");
  assert.equal(await up(other).count(), 0);
});

for (const [device, options] of Object.entries(DEVICES)) {
  for (const colorScheme of ["light", "dark"] as const) {
    scene(
      `everyone can press what is below a reply (${device}, ${colorScheme})`,
      async (stage) => {
        const poller = stage.handPoller();
        const visitor = await stage.visit({ policy: "none" });
        const passes = (state: string) => check(visitor.page, `${state}-${device}-${colorScheme}`);
        await visitor.open();
        await visitor.send("Do you have rye?");
        const first = await poller.lease();
        await first.finishes("Yes.");
        await up(visitor).click();
        await first.adds("It is baked on Tuesdays, and on Saturdays there is more of it.");
        await visitor.send("Could you keep one for me?");
        const offer = [
          "Tuesday",
          "Saturday",
          "Both days, and a chestnut loaf if there is one left",
        ];
        await (await poller.lease()).finishes("Gladly. For which day shall we?", offer);
        await offers(visitor).waitFor();
        await visitor.input.hover();
        await passes("offered");

        await down(visitor).last().click();
        await offers(visitor).getByText("Saturday").focus();
        await passes("rated");
      },
      { browser: { ...options, colorScheme, reducedMotion: "reduce" } },
    );
  }
}

scene(
  "where lines run to the left, so does what is below a reply",
  async (stage) => {
    const poller = stage.handPoller();
    const visitor = await stage.visit({ policy: "none", lang: "ar", attributes: {} });
    await visitor.bubble.click();
    await visitor.widget.getByRole("textbox").fill("هل لديكم خبز؟");
    await visitor.page.keyboard.press("Enter");
    await (await poller.lease()).finishes("نعم. هل نحجز لك واحدًا؟", ["نعم", "لا، شكرًا"]);
    await visitor.widget.getByRole("group", { name: "إجابات مقترحة" }).waitFor();
    await check(visitor.page, "offered-rtl");
  },
  { browser: { ...DEVICES.desktop, reducedMotion: "reduce" } },
);
