import assert from "node:assert/strict";
import { once } from "node:events";
import { scene } from "./stage.ts";
import { until } from "./until.ts";

const FAILED_REQUEST = /^Failed to load resource: /;
const ASKED = "You said: Tell me all";
const CANCELS = "**/api/v1/messages/*/cancel";

scene("a reply that is stopped stays as far as it came, in each tab", async (stage) => {
  const poller = stage.handPoller();
  const visitor = await stage.visit();
  const other = await stage.visit();
  await visitor.open();
  await other.open();
  await visitor.send("Tell me all");
  const lease = await poller.lease();
  await lease.writes("In the beginning");
  for (const tab of [visitor, other]) await tab.sees(ASKED, "Reply so far: In the beginning");

  await visitor.stop.click();
  for (const tab of [visitor, other]) await tab.progress.getByText("Stopping…").waitFor();
  await lease.stops();
  const all = [ASKED, "Reply: In the beginning [Stopped]"];
  for (const tab of [visitor, other]) {
    await tab.sees(...all);
    await tab.stop.waitFor({ state: "hidden" });
    assert.equal(await tab.progress.isVisible(), false);
  }
  await visitor.page.reload();
  await visitor.open();
  await visitor.sees(...all);
  assert.deepEqual(await stage.stored(), ["visitor: Tell me all", "agent: In the beginning"]);
});

scene("a reply that is stopped ends its agent", async (stage) => {
  const agent = await stage.agent();
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.send("Tell me all");
  const reply = await agent.begins("In the beginning");
  await visitor.sees(ASKED, "Reply so far: In the beginning");
  const ended = once(reply, "close");
  await visitor.stop.click();
  await visitor.sees(ASKED, "Reply: In the beginning [Stopped]");
  await ended;
});

scene("a reply that is stopped before its first word is just a mark", async (stage) => {
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.send("Tell me all");
  await visitor.stop.click();
  await visitor.sees(ASKED, "Reply: [Stopped]");
  await visitor.waiting.waitFor({ state: "hidden" });

  const poller = stage.handPoller();
  await visitor.send("Tell me less");
  const lease = await poller.lease();
  assert.equal(lease.message, "Tell me less");
  await visitor.stop.click();
  await lease.stops();
  await visitor.sees(ASKED, "Reply: [Stopped]", "You said: Tell me less", "Reply: [Stopped]");
});

scene(
  "the button stops while nothing is written, and sends otherwise",
  async (stage) => {
    const poller = stage.handPoller();
    const visitor = await stage.visit();
    const send = visitor.widget.getByRole("button", { name: "Send message" });
    await visitor.open();
    await visitor.send("Tell me all");
    const lease = await poller.lease();
    await visitor.stop.waitFor();
    const { width = 0, height = 0 } = (await visitor.stop.boundingBox()) ?? {};
    assert(width >= 44 && height >= 44);

    await visitor.input.fill("And more");
    await visitor.stop.waitFor({ state: "hidden" });
    await send.click();
    await visitor.sees(ASKED, "You said: And more [Sent]");

    await visitor.input.press("Enter");
    await visitor.input.press("Tab");
    await visitor.page.keyboard.press("Enter");
    await lease.stops();
    await visitor.sees(ASKED, "You said: And more", "Reply: [Stopped]");
    assert.equal((await poller.lease()).message, "And more", "each reply is stopped by itself");
  },
  { browser: { reducedMotion: "reduce" } },
);

scene("a double click on the button that sends stops nothing", async (stage) => {
  const poller = stage.handPoller();
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.input.fill("Tell me all");
  const button = await visitor.widget.locator("[part=send]").elementHandle();
  const { x = 0, y = 0 } = (await button?.boundingBox()) ?? {};
  await visitor.page.mouse.click(x + 20, y + 20);
  await visitor.stop.waitFor();
  await visitor.page.mouse.down({ clickCount: 2 });
  await visitor.page.mouse.up({ clickCount: 2 });
  const lease = await poller.lease();
  await lease.finishes("All.");
  await visitor.sees(ASKED, "Reply: All.");
});

scene("a stop that finds no network is made up for", async (stage) => {
  const proxy = await stage.proxy();
  const poller = stage.handPoller();
  const visitor = await stage.visit({ relay: proxy.address });
  await visitor.open();
  await visitor.send("Tell me all");
  const lease = await poller.lease();
  await lease.writes("In the beginning");
  await visitor.sees(ASKED, "Reply so far: In the beginning");

  await stage.goOffline(proxy);
  await visitor.stop.click();
  await visitor.progress.getByText("Stopping…").waitFor();
  await stage.goOnline();
  await lease.stops();
  await visitor.sees(ASKED, "Reply: In the beginning [Stopped]");
  visitor.expectComplaint(FAILED_REQUEST);
});

scene("a stop whose answer is lost is asked for again", async (stage) => {
  const poller = stage.handPoller();
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.send("Tell me all");
  const lease = await poller.lease();
  let calls = 0;
  await stage.context.route(CANCELS, async (route) => {
    calls += 1;
    if (calls > 1) return route.continue();
    await route.fetch();
    await route.abort("connectionreset");
  });
  await visitor.stop.click();
  await lease.stops();
  await visitor.sees(ASKED, "Reply: [Stopped]");
  await until(() => calls, 2);
  visitor.expectComplaint(FAILED_REQUEST);
});

scene("a reply is stopped also where a proxy holds event streams back", async (stage) => {
  const proxy = await stage.proxy("all");
  const requests = (pattern: RegExp) => proxy.requests.filter((line) => pattern.test(line));
  const poller = stage.handPoller();
  await stage.context.clock.install();
  const visitor = await stage.visit({ relay: proxy.address });
  await visitor.open();
  await visitor.send("Tell me all");
  const lease = await poller.lease();
  await until(() => requests(/^GET .*\/events$/).length, 1);
  await stage.context.clock.fastForward(10_000);
  await until(() => requests(/^GET .*\/responses\/.*wait=25$/).length, 1);

  await lease.writes("In the beginning");
  await visitor.stop.click();
  await visitor.progress.getByText("Stopping…").waitFor();
  await lease.stops();
  await visitor.sees(ASKED, "Reply: In the beginning [Stopped]");
  await visitor.stop.waitFor({ state: "hidden" });
});

scene("a stop that comes too late changes nothing", async (stage) => {
  const poller = stage.handPoller();
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.send("Tell me all");
  const lease = await poller.lease();
  await stage.context.route(CANCELS, async (route) => {
    await lease.finishes("All.");
    await route.continue();
  });
  await visitor.stop.click();
  await visitor.sees(ASKED, "Reply: All.");
  await visitor.stop.waitFor({ state: "hidden" });
  await visitor.send("Thanks");
  await visitor.sees(ASKED, "Reply: All.", "You said: Thanks [Sent]");
  await visitor.stop.waitFor();
  visitor.expectComplaint(FAILED_REQUEST);
});
