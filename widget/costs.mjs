/** What the widget costs a page's main thread, in time that it had the processor; prints JSON. */

import { once } from "node:events";
import { createServer } from "node:http";
import { setTimeout } from "node:timers/promises";
import { chromium } from "playwright-core";

const [relay] = process.argv.slice(2);
const API = `${relay}/api/v1`;
const CHROMIUM = process.env.POSTERN_CHROMIUM ?? "/usr/bin/chromium";
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
];
const LOADS = 7;
const REPLIES = 3;
/** A long reply, in the pieces and at the pace of a model. */
const PARAGRAPH =
  "It leaves **on Friday**, as the [timetable](https://ships.example/) says.\n\n- one\n- `two`\n\n";
const REPLY = PARAGRAPH.repeat(80);
const PIECE = 50;
const PACE_MS = 20;

const site = createServer((request, response) => {
  const line = `<script src="${relay}/widget.js" data-title="Ask us" async></script>`;
  response.setHeader("Content-Type", "text/html");
  response.end(`<!doctype html><title>A page</title>${request.url === "/with" ? line : ""}`);
});
site.listen(0, "127.0.0.1");
await once(site, "listening");
const home = `http://127.0.0.1:${site.address().port}`;
const browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
try {
  const load_ms = [];
  for (let count = 0; count < LOADS; count++) load_ms.push(await loading());
  const reply_ms = await replies();
  console.log(JSON.stringify({ load_ms, reply_ms, reply_bytes: Buffer.byteLength(REPLY) }));
} finally {
  await browser.close();
  site.close();
}

/** What a page with the widget takes more than one without. */
async function loading() {
  const { page, busyMs } = await visit();
  const start = await busyMs();
  await page.reload();
  await settled(page);
  const without = await busyMs();
  await page.goto(`${home}/with`);
  await page.locator("postern-chat [part=bubble]").waitFor();
  await settled(page);
  const both = await busyMs();
  await page.context().close();
  return both - without - (without - start);
}

/** What it takes to show long replies while they are written. */
async function replies() {
  const { page, busyMs } = await visit();
  await page.goto(`${home}/with`);
  await page.locator("postern-chat [part=bubble]").click();
  const input = page.locator("postern-chat").getByRole("textbox");
  const took = [];
  for (let count = 0; count < REPLIES; count++) {
    await input.fill("When does it leave?");
    await input.press("Enter");
    const { id, lease_id, session_id } = await lease();
    const start = await busyMs();
    for (let at = 0; at < REPLY.length; at += PIECE) {
      await post(`/inbox/${id}/chunks`, {
        lease_id,
        offset: at,
        text: REPLY.slice(at, at + PIECE),
      });
      await setTimeout(PACE_MS);
    }
    await post("/outbox", { session_id, message_id: id, lease_id, response: REPLY });
    await page.waitForFunction(replyIsWhole, count + 1);
    took.push((await busyMs()) - start);
  }
  return took;
}

function replyIsWhole(replies) {
  const root = document.querySelector("postern-chat").shadowRoot;
  const messages = root.querySelectorAll("[part~=message]:not([aria-busy])");
  return messages.length >= 2 * replies;
}

async function visit() {
  const page = await (await browser.newContext()).newPage();
  await page.goto(home);
  const thread = await page.context().newCDPSession(page);
  await thread.send("Performance.enable", { timeDomain: "threadTicks" });
  const busyMs = async () => {
    const { metrics } = await thread.send("Performance.getMetrics");
    return 1_000 * metrics.find(({ name }) => name === "TaskDuration").value;
  };
  return { page, busyMs };
}

async function settled(page) {
  await page.evaluate(() => new Promise((resolve) => requestIdleCallback(resolve)));
}

async function lease() {
  const { messages } = await post("/inbox/lease", {
    limit: 1,
    wait_seconds: 20,
    lease_seconds: 60,
  });
  return messages[0];
}

async function post(path, body) {
  const headers = { Authorization: `Bearer ${process.env.POSTERN_API_KEY}` };
  const init = { method: "POST", headers, body: JSON.stringify(body) };
  const answer = await (await fetch(API + path, init)).json();
  if (!answer.success) throw new Error(answer.error);
  return answer.data;
}
