import assert from "node:assert/strict";
import { holdPosts } from "./network.ts";
import { Reader } from "./reader.ts";
import { scene } from "./stage.ts";
import { until } from "./until.ts";

scene("a message is shown at once, sent, answered, and there after a reload", async (stage) => {
  const agent = await stage.agent();
  const visitor = await stage.visit();
  await visitor.open();

  const release = await holdPosts(stage.context);
  await visitor.send("When do you open?");
  await visitor.sees("You said: When do you open? [Sending…]");
  await release();
  await visitor.sees("You said: When do you open? [Sent]");
  await visitor.waiting.waitFor();

  assert.equal(await agent.replies("At six."), "When do you open?");
  await visitor.sees("You said: When do you open?", "Reply: At six.");
  await visitor.waiting.waitFor({ state: "hidden" });

  await visitor.page.reload();
  await visitor.open();
  await visitor.sees("You said: When do you open?", "Reply: At six.");
});

scene("earlier messages are shown to whoever scrolls up, and not read out", async (stage) => {
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.send("Tell me all");
  const lease = await stage.handPoller().lease();
  await lease.finishes("0");
  for (let number = 1; number < 60; number++) await lease.adds(String(number));

  await visitor.page.reload();
  await visitor.open();
  const messages = visitor.widget.locator("[part~=message]");
  await until(() => messages.count(), 50);
  const reader = await Reader.listen(visitor.page);
  await visitor.widget.getByRole("log").evaluate((log) => log.scrollTo(0, 0));
  await until(() => messages.count(), 61);
  assert.deepEqual(await reader.said(), []);
  await lease.adds("60");
  await until(() => reader.said(), ["Reply:\n60"]);
});

scene("what is sent in one tab shows in the other, each once", async (stage) => {
  stage.echo();
  const here = await stage.visit();
  const there = await stage.visit();
  await here.open();
  await there.open();

  await here.send("from here");
  const first = ["You said: from here", "Reply: from here"];
  await here.sees(...first);
  await there.sees(...first);

  await there.send("from there");
  const all = [...first, "You said: from there", "Reply: from there"];
  await there.sees(...all);
  await here.sees(...all);
  assert.equal((await stage.stored()).length, 4);
});

scene("a message that nobody is there to answer is answered once somebody is", async (stage) => {
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.send("anyone home?");
  await visitor.sees("You said: anyone home? [Sent]");

  stage.echo();
  await visitor.sees("You said: anyone home?", "Reply: anyone home?");
  assert.deepEqual(await stage.stored(), ["visitor: anyone home?", "agent: anyone home?"]);
});

scene(
  "the visitor is told when a message cannot be answered",
  async (stage) => {
    stage.poller(["--agent", "exec", "--exec", "exit 1"]);
    const visitor = await stage.visit();
    await visitor.open();
    await visitor.send("hello?");
    const notice = "Sorry, this message could not be answered. Please try again later.";
    await visitor.sees("You said: hello?", `Notice: ${notice}`);
    await visitor.waiting.waitFor({ state: "hidden" });
  },
  { limits: { maxAttempts: 1 } },
);

scene("a reply to a closed chat shows on the bubble until it is opened", async (stage) => {
  const agent = await stage.agent();
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.send("tell me later");
  await visitor.sees("You said: tell me later [Sent]");
  await visitor.close();
  await visitor.seesBubble("Open chat", { dot: false });

  await agent.replies("It is later.");
  await visitor.seesBubble("Open chat, 1 new message", { dot: true });
  await visitor.page.reload();
  await visitor.seesBubble("Open chat, 1 new message", { dot: true });

  await visitor.open();
  await visitor.sees("You said: tell me later", "Reply: It is later.");
  await visitor.close();
  await visitor.seesBubble("Open chat", { dot: false });
});

scene("text is shown as it was sent, and is never markup or script", async (stage) => {
  stage.echo();
  // No policy of the page stands between the text and its running.
  const visitor = await stage.visit({ policy: "none" });
  await visitor.open();
  const text = `<img src=x onerror=alert(1)> & "quotes" &#039; 🦀\n\n  <b>two</b> lines </script>`;
  await visitor.send(text);
  await visitor.sees(`You said: ${text}`, `Reply: ${text}`);
  assert.equal(await visitor.widget.locator("img, b").count(), 0);
  assert.deepEqual(await stage.stored(), [`visitor: ${text}`, `agent: ${text}`]);

  await visitor.page.reload();
  await visitor.open();
  await visitor.sees(`You said: ${text}`, `Reply: ${text}`);
  assert.equal(await visitor.widget.locator("img, b").count(), 0);
});
