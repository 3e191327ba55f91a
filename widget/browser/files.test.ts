import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import type { BrowserContext, Request } from "playwright-core";
import { check } from "./picture.ts";
import { Reader } from "./reader.ts";
import { DEVICES, scene } from "./stage.ts";
import { until } from "./until.ts";
import type { Visitor } from "./visitor.ts";

/** How the browser reports a request that failed because of what the test did. */
const FAILED_REQUEST = /^Failed to load resource: /;
const UPLOADS = "**/files?*";

const attach = ({ widget }: Visitor) => widget.getByRole("button", { name: "Attach files" });
const chips = ({ widget }: Visitor) => widget.locator("[part=attachment]");
const chipLines = (visitor: Visitor) =>
  chips(visitor).evaluateAll((chips) =>
    (chips as HTMLElement[]).map((chip) => chip.innerText.replaceAll(/\s*\n\s*/g, " | ")),
  );
const progress = ({ widget }: Visitor) => widget.getByRole("progressbar");
const sendButton = ({ widget }: Visitor) => widget.getByRole("button", { name: "Send message" });
const retry = ({ widget }: Visitor) => widget.getByRole("button", { name: "Try again" });
const download = ({ widget }: Visitor, name: string) =>
  widget.getByRole("button", { name: `Download ${name}` });
/** How wide a picture of the conversation is, in its own pixels; 300 before it is drawn. */
const drawn = ({ widget }: Visitor, name: string) =>
  widget.getByRole("img", { name }).evaluate((canvas: HTMLCanvasElement) => canvas.width);

const note = (name: string, text = "rye") => ({
  name,
  mimeType: "text/plain",
  buffer: Buffer.from(text),
});
const PAGE = { name: "page.html", mimeType: "text/html", buffer: Buffer.from("<p>") };

/** A picture that a browser can draw: of the page. */
async function picture({ page }: Visitor, name: string) {
  return { name, mimeType: "image/png", buffer: Buffer.from(await page.screenshot()) };
}

async function choose(visitor: Visitor, files: readonly ReturnType<typeof note>[]): Promise<void> {
  const chooser = visitor.page.waitForEvent("filechooser");
  await attach(visitor).click();
  await (await chooser).setFiles([...files]);
}

scene("files go with a message, and alone, and come back as they were", async (stage) => {
  const poller = stage.handPoller();
  const visitor = await stage.visit();
  await visitor.open();
  const oven = await picture(visitor, "oven.png");
  await choose(visitor, [oven, note("list.txt")]);
  await until(() => chips(visitor).count(), 2);
  assert.equal(await chips(visitor).locator("canvas").count(), 1);
  await visitor.send("The right one?");
  const lease = await poller.lease();
  assert.deepEqual([lease.message, lease.files], ["The right one?", ["oven.png", "list.txt"]]);
  await lease.finishes("Yes");
  await until(() => chips(visitor).count(), 0);
  await visitor.sees("You said: The right one?", "Reply: Yes");

  await choose(visitor, [note("more.txt")]);
  await sendButton(visitor).click();
  const alone = await poller.lease();
  assert.deepEqual([alone.message, alone.files], ["", ["more.txt"]]);

  await visitor.page.reload();
  await visitor.open();
  await until(() => drawn(visitor, "oven.png"), 480);
  const saved = visitor.page.waitForEvent("download");
  await download(visitor, "list.txt").click();
  assert.equal((await saved).suggestedFilename(), "list.txt");
  assert.equal(await readFile(await (await saved).path(), "utf8"), "rye");
});

scene("an agent's files are shown and saved under the strictest policy", async (stage) => {
  const poller = stage.handPoller();
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.send("Show me");
  const lease = await poller.lease();
  const { buffer } = await picture(visitor, "chart.png");
  await lease.attaches("chart.png", "image/png", buffer);
  await lease.attaches("broken.png", "image/png", buffer.subarray(0, 100));
  await lease.finishes();
  await until(() => drawn(visitor, "chart.png"), 480);
  assert.equal(await drawn(visitor, "broken.png"), 300);
  const saved = visitor.page.waitForEvent("download");
  await download(visitor, "chart.png").press("Enter");
  assert.deepEqual(await readFile(await (await saved).path()), buffer);
  assert.equal(visitor.page.url(), stage.site.url());
});

scene("a picture is fetched when it comes into view, and not before", async (stage) => {
  const poller = stage.handPoller();
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.send("Show me");
  const lease = await poller.lease();
  await lease.attaches("chart.png", "image/png", (await picture(visitor, "")).buffer);
  await lease.finishes("Here");
  await until(() => drawn(visitor, "chart.png"), 480);

  const fetched: string[] = [];
  visitor.page.on("request", (request) => {
    if (/\/files\//.test(request.url())) fetched.push(request.method());
  });
  await visitor.close();
  await visitor.page.reload();
  await visitor.seesBubble("Open chat", { dot: false });
  await visitor.widget.getByText("Here", { exact: true }).waitFor({ state: "attached" });
  assert.deepEqual(fetched, []);
  const box = visitor.widget.locator("[part=picture]");
  await visitor.open();
  const height = () => box.evaluate((box: HTMLElement) => box.offsetHeight);
  const before = await height();
  await until(() => drawn(visitor, "chart.png"), 480);
  assert.equal(await height(), before);
});

scene(
  "what is refused says why in the visitor's words, and does not go along",
  async (stage) => {
    const poller = stage.handPoller();
    const visitor = await stage.visit();
    await visitor.open();
    await choose(visitor, [PAGE, note("long.txt", "x".repeat(101))]);
    const refused = [
      "page.html | File type not accepted | Try again",
      "long.txt | Too large | Try again",
    ];
    await until(() => chipLines(visitor), refused);
    assert.equal(await sendButton(visitor).getAttribute("aria-disabled"), "true");

    await stage.relay.restart({ maxFileBytes: 200 });
    await retry(visitor).last().click();
    await until(() => chipLines(visitor), [refused[0], "long.txt | 1 kB"]);
    await visitor.widget.getByRole("button", { name: "Remove page.html" }).click();
    await until(() => chipLines(visitor), ["long.txt | 1 kB"]);
    await sendButton(visitor).click();
    assert.deepEqual((await poller.lease()).files, ["long.txt"]);
    visitor.expectComplaint(FAILED_REQUEST);
  },
  { limits: { maxFileBytes: 100 } },
);

scene("more files than a message takes are refused until there is room", async (stage) => {
  const visitor = await stage.visit();
  await visitor.open();
  const names = ["1", "2", "3", "4", "5", "6"];
  await choose(
    visitor,
    names.map((name) => note(name)),
  );
  await until(async () => (await chipLines(visitor)).at(-1), "6 | Too many files | Try again");
  await visitor.widget.getByRole("button", { name: "Remove 1" }).click();
  await retry(visitor).click();
  await until(async () => (await chipLines(visitor)).at(-1), "6 | 1 kB");
});

scene("files are dropped on the panel, and pictures pasted", async (stage) => {
  const visitor = await stage.visit();
  await visitor.open();
  const give = (target: "panel" | "input", type: string) =>
    visitor[target].evaluate((node, type) => {
      const data = new DataTransfer();
      data.items.add(new File(["rye"], `${type}.txt`, { type: "text/plain" }));
      const init = { bubbles: true, cancelable: true, composed: true };
      const event =
        type === "paste"
          ? new ClipboardEvent(type, { ...init, clipboardData: data })
          : new DragEvent(type, { ...init, dataTransfer: data });
      return node.dispatchEvent(event);
    }, type);
  const isDropState = () => visitor.panel.evaluate((panel) => panel.dataset.drop);
  assert.equal(await give("panel", "dragover"), false);
  assert.equal(await isDropState(), "Attach files");
  await give("panel", "dragleave");
  assert.equal(await isDropState(), "");
  await give("panel", "dragover");
  assert.equal(await give("panel", "drop"), false);
  assert.equal(await isDropState(), "");
  assert.equal(await give("input", "paste"), false);
  await until(() => chipLines(visitor), ["drop.txt | 1 kB", "paste.txt | 1 kB"]);
});

scene("a network that is lost in the middle of an upload is waited for", async (stage) => {
  const proxy = await stage.proxy();
  const poller = stage.handPoller();
  const visitor = await stage.visit({ relay: proxy.address });
  const keys: (string | undefined)[] = [];
  visitor.page.on("request", (request) => {
    if (isUpload(request)) keys.push(request.headers()["idempotency-key"]);
  });
  await visitor.open();
  proxy.holdsUploads = true;
  await choose(visitor, [note("recipes.txt", "x".repeat(2_000_000))]);
  await until(async () => Number(await progress(visitor).getAttribute("aria-valuenow")) > 0, true);
  await stage.goOffline(proxy);
  await until(() => {
    // The browser itself repeats a request once that broke off on a connection it had used before.
    proxy.cut();
    return chipLines(visitor);
  }, ["recipes.txt | Trying again…"]);
  proxy.holdsUploads = false;
  await visitor.send("All of them");
  await visitor.sees("You said: All of them [Sending…]");
  await stage.goOnline();
  const lease = await poller.lease();
  assert.deepEqual([lease.message, lease.files], ["All of them", ["recipes.txt"]]);
  assert(keys.length > 1);
  assert.equal(new Set(keys).size, 1);
  await visitor.sees("You said: All of them [Sent]");
  visitor.expectComplaint(FAILED_REQUEST);
});

scene("a message that waits for its file is sent after it, and before the next", async (stage) => {
  const poller = stage.handPoller();
  const visitor = await stage.visit();
  await visitor.open();
  const release = await holdUploads(stage.context);
  await choose(visitor, [note("list.txt")]);
  await visitor.send("one");
  await visitor.send("two");
  await visitor.sees("You said: one [Sending…]", "You said: two [Sending…]");
  await release();
  const first = await poller.lease();
  assert.deepEqual([first.message, first.files], ["one", ["list.txt"]]);
  await first.finishes("1");
  assert.equal((await poller.lease()).message, "two");
});

scene("a reload takes a file that waits, and the rest can be sent", async (stage) => {
  const poller = stage.handPoller();
  const visitor = await stage.visit();
  await visitor.open();
  await holdUploads(stage.context);
  await choose(visitor, [note("list.txt")]);
  await visitor.send("Please bake");
  await visitor.sees("You said: Please bake [Sending…]");
  const other = await stage.visit();
  await other.open();
  await other.sees("You said: Please bake [Sending…]");

  await visitor.page.reload();
  await visitor.open();
  const failed = "You said: Please bake [Not sent: list.txt. Try again]";
  await visitor.sees(failed);
  await other.sees(failed);
  await retry(visitor).click();
  assert.deepEqual((await poller.lease()).files, []);
  await other.sees("You said: Please bake [Sent]");
});

scene("what is attached stays while settings change", async (stage) => {
  const poller = stage.handPoller();
  const visitor = await stage.visit();
  await visitor.open();
  const release = await holdUploads(stage.context);
  await choose(visitor, [note("list.txt")]);
  await until(() => chips(visitor).count(), 1);
  const update = (lang: string) =>
    visitor.widget.evaluate((element, lang) => {
      (element as HTMLElement & { update(settings: object): void }).update({ lang });
    }, lang);
  await update("de");
  await visitor.widget.getByRole("button", { name: "list.txt entfernen" }).waitFor();
  await update("en");
  await visitor.send("Please bake");
  await update("de");
  await release();
  assert.deepEqual((await poller.lease()).files, ["list.txt"]);
});

scene("files are attached and taken off by keyboard alone, and told of", async (stage) => {
  stage.echo();
  const visitor = await stage.visit();
  // From now on, and not only once it is asked for, the browser hands its choosers over.
  visitor.page.on("filechooser", () => {});
  await visitor.open();
  const reader = await Reader.listen(visitor.page);
  await visitor.page.keyboard.press("Shift+Tab");
  const chooser = visitor.page.waitForEvent("filechooser");
  await visitor.page.keyboard.press("Enter");
  await (await chooser).setFiles([note("list.txt"), PAGE]);
  const news = ["list.txt attached", "page.html: File type not accepted"];
  await until(() => reader.said(), news);
  await visitor.page.keyboard.press("Shift+Tab");
  await visitor.page.keyboard.press("Enter");
  await until(() => chipLines(visitor), ["list.txt | 1 kB"]);
  assert(await attach(visitor).evaluate((button) => button.matches(":focus")));
  visitor.expectComplaint(FAILED_REQUEST);
});

scene("a page may do without files", async (stage) => {
  const attributes = { "data-title": "Ask us", "data-files": "off" };
  const visitor = await stage.visit({ attributes });
  await visitor.open();
  assert.equal(await attach(visitor).count(), 0);
});

for (const [device, options] of Object.entries(DEVICES)) {
  for (const colorScheme of ["light", "dark"] as const) {
    scene(
      `everyone can use files (${device}, ${colorScheme})`,
      async (stage) => {
        const poller = stage.handPoller();
        const visitor = await stage.visit({ policy: "none" });
        const { page } = visitor;
        const passes = (state: string) => check(page, `files-${state}-${device}-${colorScheme}`);
        await visitor.open();
        await choose(visitor, [
          await picture(visitor, "the-oven.png"),
          note("a list with a name that is longer than there is room for.txt"),
          PAGE,
        ]);
        await visitor.widget.getByText("not accepted").first().waitFor();
        await visitor.input.fill("Is this the right oven?");
        const release = await holdUploads(stage.context);
        await choose(visitor, [note("more.txt")]);
        await passes("attached");

        await release();
        await sendButton(visitor).click();
        const lease = await poller.lease();
        await lease.attaches("chart.png", "image/png", (await picture(visitor, "")).buffer);
        await lease.attaches("prices.csv", "text/csv", "rye,4\n");
        await lease.finishes("It is. Here is how warm it gets, and what the bread costs.");
        await until(() => drawn(visitor, "chart.png"), device === "mobile" ? 222 : 480);
        await passes("said");
        await visitor.panel.evaluate((panel) => {
          panel.dataset.drop = "Attach files";
        });
        await passes("dropping");
        visitor.expectComplaint(FAILED_REQUEST);
      },
      { browser: { ...options, colorScheme, reducedMotion: "reduce" } },
    );
  }
}

scene(
  "where lines run to the left, so do files",
  async (stage) => {
    const poller = stage.handPoller();
    const visitor = await stage.visit({ policy: "none", lang: "ar", attributes: {} });
    await visitor.bubble.click();
    const chooser = visitor.page.waitForEvent("filechooser");
    await visitor.widget.getByRole("button", { name: "إرفاق ملفات" }).click();
    await (await chooser).setFiles([await picture(visitor, "oven.png"), PAGE]);
    await visitor.widget.getByText("غير مقبول").first().waitFor();
    await check(visitor.page, "files-attached-rtl");
    await visitor.page.keyboard.press("Tab");
    await visitor.page.keyboard.type("هذا؟");
    await visitor.page.keyboard.press("Enter");
    const lease = await poller.lease();
    await lease.attaches("prices.csv", "text/csv", "rye,4\n");
    await lease.finishes("نعم");
    await visitor.widget.getByText("prices.csv").waitFor();
    await check(visitor.page, "files-said-rtl");
    visitor.expectComplaint(FAILED_REQUEST);
  },
  { browser: { ...DEVICES.desktop, reducedMotion: "reduce" } },
);

function isUpload(request: Request): boolean {
  return request.method() === "POST" && request.url().includes("/files?");
}

/** Keeps every upload from leaving until the result is called. */
async function holdUploads(context: BrowserContext): Promise<() => Promise<void>> {
  const held: (() => Promise<void>)[] = [];
  await context.route(UPLOADS, async (route) => {
    held.push(() => route.continue());
  });
  return async () => {
    await context.unroute(UPLOADS);
    await Promise.allSettled(held.map((go) => go()));
  };
}
