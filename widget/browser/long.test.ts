/** What a long conversation costs the page's main thread, in time that it had the processor. */

import assert from "node:assert/strict";
import type { CDPSession } from "playwright-core";
import type { Entry } from "../src/wire.ts";
import { type Stage, scene } from "./stage.ts";
import { until } from "./until.ts";
import type { Visitor } from "./visitor.ts";

const MANY = 10_000;
const FEW = 20;
const TIMES = 15;
/** Before the log was laid out in blocks, it was 40 ms more at the least, for opening more than 100. */
const MOST_MORE_MS = { character: 30, chunk: 30, opening: 80 };

interface Costs {
  readonly character: number;
  readonly chunk: number;
  readonly opening: number;
}

scene("with 10,000 messages typing, a growing reply and opening stay smooth", async (stage) => {
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.send("hi");
  const lease = await stage.handPoller().lease();
  let written = "";
  const few = await costs(FEW);
  const many = await costs(MANY);
  const figures = `${JSON.stringify(many)} ms, with ${FEW} messages ${JSON.stringify(few)} ms`;
  console.log(`On the main thread, with ${MANY} messages: ${figures} (medians of ${TIMES})`);
  for (const deed of ["character", "chunk", "opening"] as const) {
    assert(many[deed] - few[deed] < MOST_MORE_MS[deed], `${deed}: ${figures}`);
  }

  async function costs(count: number): Promise<Costs> {
    await tellStory(stage, count);
    await visitor.page.reload();
    await visitor.open();
    await until(
      () => visitor.widget.locator("[part~=message]:not([aria-busy])").count(),
      count + 1,
    );
    return measure(visitor, writeOn);
  }

  async function writeOn(): Promise<string> {
    const more = written ? " word" : "word";
    written += more;
    await lease.writes(more);
    return written;
  }
});

scene("up and down a long conversation, all that is read stays in its place", async (stage) => {
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.send("hi");
  await visitor.sees("You said: hi [Sent]");
  await tellStory(stage, 500);
  await visitor.page.reload();
  await visitor.open();
  await until(() => visitor.widget.locator("[part~=message]").count(), 501);
  const log = visitor.widget.getByRole("log");
  for (const step of [-370, 370]) assert.deepEqual(await log.evaluate(leaps, step), []);
});

/** Scrolls as far as it goes, in steps, and tells what moved by more or less than its step. */
async function leaps(log: Element, step: number): Promise<number[]> {
  const found: number[] = [];
  const painted = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  const { top, height } = log.getBoundingClientRect();
  for (let last = Number.NaN; last !== log.scrollTop; ) {
    last = log.scrollTop;
    const messages = [...log.querySelectorAll("[part~=message]")];
    const seen = messages.find((message) => message.getBoundingClientRect().top > top + height / 2);
    const before = seen?.getBoundingClientRect().top ?? 0;
    log.scrollTop += step;
    const moved = last - log.scrollTop;
    for (let frame = 0; frame < 3; frame++) await painted();
    const leap = (seen?.getBoundingClientRect().top ?? 0) - before - moved;
    if (Math.abs(leap) > 1) found.push(Math.round(leap));
  }
  return found;
}

/** `writeOn` adds a word to the draft and tells all of it. */
async function measure(visitor: Visitor, writeOn: () => Promise<string>): Promise<Costs> {
  const { page, widget, input } = visitor;
  const thread = await page.context().newCDPSession(page);
  await thread.send("Performance.enable", { timeDomain: "threadTicks" });
  await input.focus();
  const character = await median(thread, () => page.keyboard.press("a"));
  const draft = widget.locator("[aria-busy] [part=text]");
  const before = await writeOn();
  await until(() => draft.textContent(), before);
  const text = await draft.elementHandle();
  const chunk = await median(thread, async () => {
    const written = await writeOn();
    await until(() => text?.textContent(), written);
  });
  const opening = await median(thread, async () => {
    await page.keyboard.press("Escape");
    await page.keyboard.press("Enter");
  });
  await thread.detach();
  return { character, chunk, opening };
}

/** Lets the transcript begin with as many messages as nobody would wait for in a test. */
async function tellStory(stage: Stage, count: number): Promise<void> {
  const entries = Array.from({ length: count }, (_, index): Entry => {
    const isReply = index % 2 === 1;
    const text = isReply ? `It is **${index}**, as in:\n\n- one\n- \`two\`` : `What is ${index}?`;
    const id = index - count;
    const timestamp = new Date(Date.now() - 60_000 * (count - index)).toISOString();
    const role = isReply ? "agent" : "visitor";
    return { id, role, text, message_id: isReply ? id - 1 : null, timestamp };
  });
  await stage.context.unroute("**/messages?limit=*");
  await stage.context.route("**/messages?limit=*", async (route) => {
    const response = await route.fetch();
    const body = await response.json();
    body.data.messages.unshift(...entries);
    await route.fulfill({ response, json: body });
  });
}

/** How long the main thread is busy with the deed, in the middle of several times. */
async function median(thread: CDPSession, deed: () => Promise<void>): Promise<number> {
  const took: number[] = [];
  for (let count = 0; count < TIMES; count++) {
    const before = await busyMs(thread);
    await deed();
    took.push((await busyMs(thread)) - before);
  }
  took.sort((a, b) => a - b);
  return Math.round(10 * (took[Math.floor(TIMES / 2)] ?? 0)) / 10;
}

async function busyMs(thread: CDPSession): Promise<number> {
  const { metrics } = await thread.send("Performance.getMetrics");
  return 1_000 * (metrics.find(({ name }) => name === "TaskDuration")?.value ?? 0);
}
