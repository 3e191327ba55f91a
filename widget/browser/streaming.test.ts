import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import { Agent } from "./poller.ts";
import { Reader } from "./reader.ts";
import { scene } from "./stage.ts";
import { until } from "./until.ts";

const FAILED_REQUEST = /^Failed to load resource: /;
const ASKED = "You said: What is there?";

scene("a reply appears as it is written, and its whole takes its place", async (stage) => {
  const poller = stage.handPoller();
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.send("What is there?");
  const lease = await poller.lease();
  await lease.writes("Rye");
  await visitor.sees(ASKED, "Reply so far: Rye");
  const reader = await Reader.listen(visitor.page);
  const [bubble] = await newestMessage(visitor.page);

  const crumbs = [", spelt 🌾", " — naïve", " 日本", " & <b>"];
  for (const text of crumbs) await lease.writes(text);
  await visitor.sees(ASKED, `Reply so far: Rye${crumbs.join("")}`);
  assert.deepEqual(await reader.said(), [], "nobody is read a reply word by word");

  await lease.finishes(".");
  const whole = `Reply: Rye${crumbs.join("")}.`;
  await visitor.sees(ASKED, whole);
  assert.deepEqual(await newestMessage(visitor.page), [bubble, 2]);
  assert.deepEqual(await reader.said(), [whole.replace(": ", ":\n")]);
  await visitor.waiting.waitFor({ state: "hidden" });
  assert.deepEqual(await stage.stored(), ["visitor: What is there?", `agent: ${whole.slice(7)}`]);
});

scene("a reload in the middle of a reply brings all of it so far, and the rest", async (stage) => {
  const poller = stage.handPoller();
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.send("What is there?");
  const lease = await poller.lease();
  await lease.writes("Rye, spelt 🌾");
  await visitor.sees(ASKED, "Reply so far: Rye, spelt 🌾");

  await visitor.page.reload();
  await visitor.open();
  await visitor.sees(ASKED, "Reply so far: Rye, spelt 🌾");
  await lease.writes(" and oats");
  await visitor.sees(ASKED, "Reply so far: Rye, spelt 🌾 and oats");
  await lease.finishes(".");
  await visitor.sees(ASKED, "Reply: Rye, spelt 🌾 and oats.");
});

scene("a network that goes away in the middle of a reply loses none of it", async (stage) => {
  const proxy = await stage.proxy();
  const poller = stage.handPoller();
  const visitor = await stage.visit({ relay: proxy.address });
  await visitor.open();
  await visitor.send("What is there?");
  const lease = await poller.lease();
  await lease.writes("Rye");
  await visitor.sees(ASKED, "Reply so far: Rye");

  await stage.goOffline(proxy);
  await lease.writes(", spelt 🌾");
  await visitor.sees(ASKED, "Reply so far: Rye");
  await stage.goOnline();
  await visitor.sees(ASKED, "Reply so far: Rye, spelt 🌾");

  await stage.goOffline(proxy);
  await lease.finishes(" and oats.");
  await stage.goOnline();
  await visitor.sees(ASKED, "Reply: Rye, spelt 🌾 and oats.");
  visitor.expectComplaint(FAILED_REQUEST);
});

scene("a relay that is killed in the middle of a reply goes on with the whole", async (stage) => {
  const poller = stage.handPoller();
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.send("What is there?");
  const lease = await poller.lease();
  await lease.writes("Rye");
  await visitor.sees(ASKED, "Reply so far: Rye");

  await stage.relay.restart();
  await lease.writes(", spelt 🌾");
  await visitor.sees(ASKED, "Reply so far: Rye, spelt 🌾");
  await lease.finishes(".");
  await visitor.sees(ASKED, "Reply: Rye, spelt 🌾.");
  assert.equal((await stage.stored()).length, 2);
  visitor.expectComplaint(FAILED_REQUEST);
});

scene("a poller that is gone in the middle of a reply leaves nothing of it", async (stage) => {
  const poller = stage.handPoller();
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.send("What is there?");
  const gone = await poller.lease(1);
  await gone.writes("Rye, and");
  await visitor.sees(ASKED, "Reply so far: Rye, and");

  const next = await poller.lease();
  await visitor.sees(`${ASKED} [Sent]`);
  await next.writes("Oats");
  await visitor.sees(ASKED, "Reply so far: Oats");
  await next.finishes(".");
  await visitor.sees(ASKED, "Reply: Oats.");
  assert.equal((await stage.stored()).length, 2);
});

scene("a poller that is killed in the middle of a reply begins it anew", async (stage) => {
  const agent = stage.strikeLater(await Agent.start());
  const poller = stage.poller(agent.flags);
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.send("What is there?");
  const lost = await agent.begins();
  lost.write("Rye");
  await visitor.sees(ASKED, "Reply so far: Rye");
  lost.write(", spelt");
  await visitor.sees(ASKED, "Reply so far: Rye, spelt");

  await poller.restart();
  const reply = await agent.begins();
  reply.write("Oats");
  await visitor.sees(ASKED, "Reply so far: Oats");
  reply.end(" and barley.");
  await visitor.sees(ASKED, "Reply: Oats and barley.");
  assert.equal((await stage.stored()).length, 2);
});

scene("two tabs see the same reply grow", async (stage) => {
  const poller = stage.handPoller();
  const here = await stage.visit();
  await here.open();
  await here.send("What is there?");
  const lease = await poller.lease();
  await lease.writes("Rye");
  const there = await stage.visit();
  await there.open();
  for (const tab of [here, there]) await tab.sees(ASKED, "Reply so far: Rye");
  await lease.writes(", spelt");
  for (const tab of [here, there]) await tab.sees(ASKED, "Reply so far: Rye, spelt");
  await lease.finishes();
  for (const tab of [here, there]) await tab.sees(ASKED, "Reply: Rye, spelt");
});

scene("what is written meanwhile stands below the reply that grows", async (stage) => {
  const poller = stage.handPoller();
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.send("What is there?");
  const first = await poller.lease();
  await first.writes("Rye");
  await visitor.sees(ASKED, "Reply so far: Rye");
  await visitor.send("And?");
  await visitor.sees(ASKED, "Reply so far: Rye", "You said: And? [Sent]");
  await first.writes(", spelt");
  await first.finishes(".");
  await visitor.sees(ASKED, "Reply: Rye, spelt.", "You said: And? [Sent]");
  const second = await poller.lease();
  await second.writes("Oats");
  await visitor.sees(ASKED, "Reply: Rye, spelt.", "You said: And?", "Reply so far: Oats");
  await second.finishes(".");
  await visitor.sees(ASKED, "Reply: Rye, spelt.", "You said: And?", "Reply: Oats.");
});

scene("the log follows a reply that grows only for those who read its end", async (stage) => {
  const poller = stage.handPoller();
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.send("What is there?");
  const lease = await poller.lease();
  const log = visitor.widget.getByRole("log");
  const isAtEnd = () =>
    log.evaluate((node) => node.scrollHeight - node.scrollTop - node.clientHeight < 1);
  const writes = async (text: string) => {
    await lease.writes(text);
    await visitor.widget.getByText(text.trim()).waitFor();
  };

  await writes(`${"crust\n".repeat(60)}one`);
  await until(isAtEnd, true);
  await writes("\ntwo");
  await until(isAtEnd, true);

  await log.hover();
  await visitor.page.mouse.wheel(0, -20);
  await until(isAtEnd, false);
  const place = await log.evaluate((node) => node.scrollTop);
  await writes("\nthree");
  await lease.finishes("\nfour");
  await visitor.widget.getByText("four").waitFor();
  assert.equal(await log.evaluate((node) => node.scrollTop), place);

  await visitor.page.mouse.wheel(0, 1_000);
  await until(isAtEnd, true);
});

scene(
  "a reply that comes in a burst of pieces is drawn no oftener than the screen",
  async (stage) => {
    const visitor = await stage.visit();
    await visitor.open();
    const pieces = Array.from({ length: 1_000 }, (_, index) => String(index % 10));
    const events = pieces.map((text, offset) => {
      const data = JSON.stringify({ message_id: 1, offset, text });
      return `event: chunk\ndata: ${data}\n\n`;
    });
    let opened = 0;
    await stage.context.route("**/events", (route) => {
      const headers = { "Access-Control-Allow-Origin": "*", "Content-Type": "text/event-stream" };
      if (++opened === 1) return route.fulfill({ headers, body: events.join("") });
    });
    const drawn = await visitor.widget.getByRole("log").evaluateHandle((log) => {
      const drawn = { times: 0, frames: 0 };
      new MutationObserver(() => {
        drawn.times++;
      }).observe(log, { childList: true, characterData: true, subtree: true });
      const count = () => {
        drawn.frames++;
        requestAnimationFrame(count);
      };
      count();
      return drawn;
    });
    await visitor.send("What is there?");
    await visitor.sees(ASKED, `Reply so far: ${pieces.join("")}`);
    const { times, frames } = await drawn.jsonValue();
    assert(times <= frames, `drawn ${times} times in ${frames} frames`);
  },
);

for (const holdsBack of ["bodies", "all"] as const) {
  scene(`no half of a reply is left where a proxy holds back ${holdsBack}`, async (stage) => {
    const proxy = await stage.proxy();
    const requests = (pattern: RegExp) => proxy.requests.filter((line) => pattern.test(line));
    const poller = stage.handPoller();
    await stage.context.clock.install();
    const visitor = await stage.visit({ relay: proxy.address });
    await visitor.open();
    await visitor.send("What is there?");
    const lease = await poller.lease();
    await lease.writes("Rye", "Looking into the oven");
    await visitor.sees(ASKED, "Reply so far: Rye");
    await visitor.progress.getByText("Looking into the oven").waitFor();

    proxy.holdsBack = holdsBack;
    proxy.cut();
    await until(() => requests(/^GET .*\/events$/).length, 2);
    await stage.context.clock.fastForward(10_000);
    await until(() => requests(/^GET .*\/responses\/.*wait=25$/).length, 1);
    await visitor.sees(`${ASKED} [Sent]`);
    await visitor.waiting.waitFor();
    assert.equal(await visitor.progress.innerText(), "");

    await lease.finishes(", spelt");
    await visitor.sees(ASKED, "Reply: Rye, spelt");
    await visitor.waiting.waitFor({ state: "hidden" });
    visitor.expectComplaint(FAILED_REQUEST);
  });
}

/** The newest message's node, numbered by when it was first asked for, and how many there are. */
function newestMessage(page: Page): Promise<[number, number]> {
  return page.evaluate(() => {
    const root = document.querySelector("postern-chat")?.shadowRoot;
    const messages = root?.querySelectorAll<HTMLElement>("[part~=message]") ?? [];
    const newest = messages[messages.length - 1];
    if (!newest) throw new Error("There is no message.");
    newest.dataset.mark ??= String(performance.now());
    return [Number(newest.dataset.mark), messages.length];
  });
}
