import assert from "node:assert/strict";
import { holdPosts, loseNextAnswer } from "./network.ts";
import { scene } from "./stage.ts";
import { until } from "./until.ts";

/** How the browser reports a request that failed because of what the test did. */
const FAILED_REQUEST = /^Failed to load resource: /;

scene("a relay that is killed and returns is found again, with nothing lost", async (stage) => {
  stage.echo();
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.send("before");
  const before = ["You said: before", "Reply: before"];
  await visitor.sees(...before);

  await stage.relay.kill();
  await visitor.sendInVain("while you were away");
  await visitor.sees(...before, "You said: while you were away [Sending…]");

  await stage.relay.restart();
  const away = ["You said: while you were away", "Reply: while you were away"];
  await visitor.sees(...before, ...away);
  // Whatever might have come a second time would have come before the answer to this.
  await visitor.send("after");
  const all = [...before, ...away, "You said: after", "Reply: after"];
  await visitor.sees(...all);
  assert.equal((await stage.stored()).length, 6);

  await visitor.page.reload();
  await visitor.open();
  await visitor.sees(...all);
  visitor.expectComplaint(FAILED_REQUEST);
});

scene("a network that goes away and comes back loses nothing", async (stage) => {
  const proxy = await stage.proxy();
  const agent = await stage.agent();
  const visitor = await stage.visit({ relay: proxy.address });
  await visitor.open();
  await visitor.send("one");
  await visitor.sees("You said: one [Sent]");

  await stage.goOffline(proxy);
  await agent.replies("first");
  await until(() => stage.stored(), ["visitor: one", "agent: first"]);
  await stage.goOnline();
  await visitor.sees("You said: one", "Reply: first");

  await stage.goOffline(proxy);
  await visitor.sendInVain("two");
  await visitor.sees("You said: one", "Reply: first", "You said: two [Sending…]");
  await stage.goOnline();
  await agent.replies("second");
  await visitor.sees("You said: one", "Reply: first", "You said: two", "Reply: second");
  assert.equal((await stage.stored()).length, 4);
  visitor.expectComplaint(FAILED_REQUEST);
});

scene("an unsent message survives a reload and goes out once", async (stage) => {
  stage.echo();
  const visitor = await stage.visit();
  await visitor.open();
  const release = await holdPosts(stage.context);
  await visitor.send("hold that thought");
  await visitor.sees("You said: hold that thought [Sending…]");

  await visitor.page.reload();
  await visitor.open();
  await visitor.sees("You said: hold that thought [Sending…]");
  assert.deepEqual(await stage.stored(), []);

  await release();
  await visitor.sees("You said: hold that thought", "Reply: hold that thought");
  await visitor.send("done");
  await visitor.sees(
    "You said: hold that thought",
    "Reply: hold that thought",
    "You said: done",
    "Reply: done",
  );
  assert.equal((await stage.stored()).length, 4);
});

scene("a post that opens the session and loses its answer is repeated, once", async (stage) => {
  stage.echo();
  const visitor = await stage.visit();
  await visitor.open();
  const keys = await loseNextAnswer(stage.context);
  await visitor.send("first words");
  await visitor.sees("You said: first words", "Reply: first words");
  assert.equal(keys.length, 2);
  assert.equal(keys[0], keys[1]);
  assert.deepEqual(await stage.stored(), ["visitor: first words", "agent: first words"]);

  await visitor.page.reload();
  await visitor.open();
  await visitor.sees("You said: first words", "Reply: first words");
  visitor.expectComplaint(FAILED_REQUEST);
});

scene("a post to a session that loses its answer is repeated, once", async (stage) => {
  stage.echo();
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.send("one");
  await visitor.sees("You said: one", "Reply: one");

  const keys = await loseNextAnswer(stage.context);
  await visitor.send("two");
  const all = ["You said: one", "Reply: one", "You said: two", "Reply: two"];
  await visitor.sees(...all);
  await until(() => keys.length, 2);
  assert.equal(keys[0], keys[1]);
  await visitor.send("three");
  await visitor.sees(...all, "You said: three", "Reply: three");
  assert.equal((await stage.stored()).length, 6);
  visitor.expectComplaint(FAILED_REQUEST);
});

scene(
  "a message that is refused says why, and trying again works once it is taken",
  async (stage) => {
    stage.echo();
    const visitor = await stage.visit();
    await visitor.open();
    const text = "a message of thirty characters";
    await visitor.send(text);
    const sentence = "message is longer than 20 characters";
    const refused = `You said: ${text} [Not sent: ${sentence}. Try again]`;
    await visitor.sees(refused);
    await visitor.page.reload();
    await visitor.open();
    await visitor.sees(refused);

    await stage.relay.restart({ maxMessageChars: 40 });
    await visitor.widget.getByRole("button", { name: "Try again" }).click();
    await visitor.sees(`You said: ${text}`, `Reply: ${text}`);
    assert.deepEqual(await stage.stored(), [`visitor: ${text}`, `agent: ${text}`]);
    visitor.expectComplaint(FAILED_REQUEST);
  },
  { limits: { maxMessageChars: 20 } },
);

scene("replies come by long poll where a proxy holds event streams back", async (stage) => {
  const proxy = await stage.proxy("all");
  const seen = (pattern: RegExp) => () => proxy.requests.some((line) => pattern.test(line));
  const agent = await stage.agent();
  await stage.context.clock.install();
  const visitor = await stage.visit({ relay: proxy.address });
  await visitor.open();
  await visitor.send("do you hear me?");
  await visitor.sees("You said: do you hear me? [Sent]");

  await until(seen(/^GET .*\/events$/), true);
  await stage.context.clock.fastForward(10_000);
  await until(seen(/^GET .*\/responses\/.*wait=25$/), true);
  await agent.replies("loud and clear");
  await visitor.sees("You said: do you hear me?", "Reply: loud and clear");

  await visitor.send("and now?");
  await agent.replies("still");
  await visitor.sees(
    "You said: do you hear me?",
    "Reply: loud and clear",
    "You said: and now?",
    "Reply: still",
  );
});
