import assert from "node:assert/strict";
import { type Stage, scene } from "./stage.ts";
import { until } from "./until.ts";
import type { Visitor } from "./visitor.ts";

/** More tabs of the same browser, each with the chat open. */
async function visitMore(stage: Stage, count: number): Promise<Visitor[]> {
  const tabs: Visitor[] = [];
  while (tabs.length < count) {
    const tab = await stage.visit();
    await tab.open();
    tabs.push(tab);
  }
  return tabs;
}

scene("ten tabs share one stream, and what is done in one shows in all", async (stage) => {
  const first = await stage.visit();
  await first.open();
  await first.send("one");
  const lease = await stage.handPoller().lease();
  const tabs = [first, ...(await visitMore(stage, 8))];
  await lease.writes("So far", "Searching the archive");
  for (const tab of tabs) await tab.sees("You said: one", "Reply so far: So far");
  assert.equal(await stage.relay.streams(), 1);

  const [late] = (await visitMore(stage, 1)) as [Visitor];
  await late.sees("You said: one", "Reply so far: So far");
  await until(() => late.progress.innerText(), "Searching the archive");
  await late.stop.click();
  await lease.stops();
  const stopped = ["You said: one", "Reply: So far [Stopped]"];
  for (const tab of [...tabs, late]) await tab.sees(...stopped);

  await late.send("two");
  for (const tab of [...tabs, late]) await tab.sees(...stopped, "You said: two [Sent]");
  assert.equal(await stage.relay.streams(), 1);
});

scene(
  "a tab that is closed in the middle of a reply takes nothing from the others",
  async (stage) => {
    const poller = stage.handPoller();
    const first = await stage.visit();
    await first.open();
    await first.send("one");
    const lease = await poller.lease();
    const tabs = await visitMore(stage, 2);
    await lease.writes("So far");
    for (const tab of tabs) await tab.sees("You said: one", "Reply so far: So far");

    await first.page.close();
    await lease.writes(", so good");
    for (const tab of tabs) await tab.sees("You said: one", "Reply so far: So far, so good");
    await lease.finishes(".");
    for (const tab of tabs) await tab.sees("You said: one", "Reply: So far, so good.");
    await until(() => stage.relay.streams(), 1);
  },
);

scene("tabs that may have no locks stream each for itself", async (stage) => {
  await stage.context.addInitScript(() => Reflect.deleteProperty(Navigator.prototype, "locks"));
  const poller = stage.handPoller();
  const here = await stage.visit();
  await here.open();
  await here.send("one");
  const [there] = (await visitMore(stage, 1)) as [Visitor];
  await until(() => stage.relay.streams(), 2);
  await (await poller.lease()).finishes("first");
  for (const tab of [here, there]) await tab.sees("You said: one", "Reply: first");
});
