import assert from "node:assert/strict";
import { test } from "node:test";
import { Store } from "../src/storage.ts";
import { speak } from "../src/texts.ts";
import { clock, device, relay, visit } from "./browser.ts";
import { type Call, type Fault, refuse } from "./fake-relay.ts";
import type { Page } from "./page.ts";
import { setXmlHttpRequest } from "./xhr.ts";

const POST = "POST /messages";
const OPEN = "POST /sessions";
const UPLOAD = "POST /sessions/{id}/files";

setXmlHttpRequest();
speak("en");

function attach(page: Page, ...names: string[]): void {
  for (const name of names) page.chat.attachments.add(new File(["rye"], name));
}

/** Sends with all that is attached, as the composer does. */
function submit(page: Page, text: string): void {
  page.chat.send(text, undefined, page.chat.takeFiles());
}

/** Resolves once the condition holds; looked at whenever an attachment changes. */
async function until({ chat }: Page, condition: () => boolean): Promise<void> {
  while (!condition()) {
    await new Promise((resolve) =>
      chat.attachments.addEventListener("change", resolve, { once: true }),
    );
  }
}

const states = ({ chat }: Page) =>
  chat.attachments.list.map(({ file, id, error }) => `${file.name}: ${error ?? (id && "stored")}`);
const keys = (calls: Call[]) => new Set(calls.map((call) => call.headers["idempotency-key"]));
const answerWith =
  (status: number, type: string): Fault =>
  (_call, response) => {
    refuse(response, status, type, "So it is.");
    return true;
  };
const breakOff: Fault = (_call, response) => {
  response.destroy();
  return true;
};

test("files open the session, once, and go with the message in their order", async () => {
  const page = visit();
  attach(page, "a.txt", "b.txt");
  submit(page, "look");
  await page.shows("look (sent)");
  assert.equal(relay.called(OPEN).length, 1);
  assert.deepEqual(
    relay.called(UPLOAD).map(({ query }) => query.get("name")),
    ["a.txt", "b.txt"],
  );
  const [message] = relay.called(POST);
  assert.deepEqual(message?.body.files, ["file-1", "file-2"]);
  assert.equal(message?.body.session_id, "session-1");
  assert.equal(relay.entries.length, 1);
});

test("an upload is repeated under its key until the relay has answered for it", async () => {
  const page = visit();
  relay.once(OPEN, breakOff);
  relay.once(UPLOAD, breakOff);
  relay.once(UPLOAD, answerWith(503, "unavailable"));
  attach(page, "a.txt");
  for (const delay of [1_000, 2_000, 4_000]) {
    await clock.sleeping(delay);
    assert.equal(page.chat.attachments.list[0]?.isRetrying, true);
    clock.advance(delay);
  }
  await until(page, () => states(page).join() === "a.txt: stored");
  assert.deepEqual([keys(relay.called(OPEN)).size, keys(relay.called(UPLOAD)).size], [1, 1]);
});

for (const [status, type, sentence] of [
  [400, "invalid_request", "File type not accepted"],
  [409, "too_many_files", "Too many files"],
  [413, "payload_too_large", "Too large"],
  [404, "not_found", "So it is."],
] as const) {
  test(`a file that is refused as ${type} says so, and does not go along`, async () => {
    const page = visit();
    relay.once(UPLOAD, answerWith(status, type));
    attach(page, "a.txt", "b.txt");
    await until(page, () => states(page).join() === `a.txt: ${sentence},b.txt: stored`);
    submit(page, "look");
    await page.shows("look (sent)");
    assert.deepEqual(relay.called(POST)[0]?.body.files, ["file-1"]);
    assert.deepEqual(states(page), [`a.txt: ${sentence}`]);
  });
}

test("a message fails with a file that is refused, and is sent without it", async () => {
  const page = visit();
  relay.once(UPLOAD, answerWith(413, "payload_too_large"));
  attach(page, "a.txt", "b.txt");
  submit(page, "look");
  await page.shows("look (failed)");
  const [row] = page.chat.conversation.rows;
  assert.equal(row?.error, "a.txt, Too large");
  page.chat.retry(String(row?.name));
  await page.shows("look (sent)");
  assert.deepEqual(relay.called(POST)[0]?.body.files, ["file-1"]);
});

test("what is left of a message without its only file and text is nothing", async () => {
  const page = visit();
  relay.once(UPLOAD, answerWith(413, "payload_too_large"));
  attach(page, "a.txt");
  submit(page, "");
  await page.shows(" (failed)");
  page.chat.retry(String(page.chat.conversation.rows[0]?.name));
  assert.deepEqual(page.shown, []);
});

test("a file that is taken off while it waits is sent no more", async () => {
  const page = visit();
  relay.once(UPLOAD, breakOff);
  attach(page, "a.txt", "b.txt");
  await clock.sleeping(1_000);
  page.chat.attachments.remove(String(page.chat.attachments.list[0]?.key));
  await until(page, () => states(page).join() === "b.txt: stored");
  const names = relay.called(UPLOAD).map(({ query }) => query.get("name"));
  assert.deepEqual(names, ["a.txt", "b.txt"]);
});

test("a session that is refused is left, and the files go to the next", async () => {
  const page = visit();
  attach(page, "a.txt");
  await until(page, () => states(page).join() === "a.txt: stored");
  relay.once(UPLOAD, answerWith(401, "unauthorized"));
  attach(page, "b.txt");
  await until(page, () => states(page).join() === "a.txt: stored,b.txt: stored");
  submit(page, "look");
  await page.shows("look (sent)");
  const [message] = relay.called(POST);
  assert.equal(message?.body.session_id, "session-2");
  assert.equal(message?.body.files?.length, 2);
});

test("a message whose files went to a session that is over fails, and names them", async () => {
  const page = visit();
  attach(page, "a.txt");
  await until(page, () => states(page).join() === "a.txt: stored");
  relay.once(POST, breakOff);
  submit(page, "look");
  await clock.sleeping(1_000);
  page.leave();
  new Store(relay.address, undefined, device.storage).session = undefined;
  const next = visit();
  await next.shows("look (failed)");
  assert.equal(next.chat.conversation.rows[0]?.error, "a.txt");
});

test("a message waits for the page that has its file, and fails once that is gone", async () => {
  relay.once(UPLOAD, breakOff);
  const page = visit();
  attach(page, "a.txt");
  submit(page, "look");
  page.chat.send("and this");
  await clock.sleeping(1_000);
  const other = visit();
  await other.shows("look (sending)", "and this (sending)");
  page.leave();
  await other.until(() => other.shown[0] === "look (failed)");
  await other.until(() => other.shown.includes("and this (sent)"));
  assert.equal(other.chat.conversation.rows.find(({ error }) => error)?.error, "a.txt");
});
