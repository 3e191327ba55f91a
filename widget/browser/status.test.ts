import assert from "node:assert/strict";
import { Reader } from "./reader.ts";
import { scene } from "./stage.ts";
import { until } from "./until.ts";

const AWAY = "We are away right now. Your message is kept and answered when we are back.";

scene("a message that was sent is said to be sent once", async (stage) => {
  const visitor = await stage.visit();
  await visitor.open();
  const reader = await Reader.listen(visitor.page);
  const sent = visitor.sees("You said: Hello [Sent]");
  await stage.context.route("**/sessions/*/messages*", async (route) => {
    await sent;
    await route.continue();
  });
  await visitor.send("Hello");
  await until(() => stage.relay.streams(), 1);
  await (await stage.handPoller().lease()).finishes("Good day");
  await visitor.sees("You said: Hello", "Reply: Good day");
  assert.equal((await reader.said()).filter((said) => said === "Sent").length, 1);
});

scene("the visitor is told what the agent is at, before its text and with it", async (stage) => {
  const poller = stage.handPoller();
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.send("What did we say?");
  const lease = await poller.lease();
  await visitor.sees("You said: What did we say? [Sent]");
  await visitor.waiting.waitFor();
  const reader = await Reader.listen(visitor.page);
  await lease.writes("", "Searching the <b>archive</b>");
  await visitor.progress.getByText("Searching the <b>archive</b>").waitFor();
  assert(await visitor.waiting.isVisible());
  assert.deepEqual(await reader.said(), ["Searching the <b>archive</b>"]);

  await lease.writes("You said", "Reading what was found");
  await visitor.sees("You said: What did we say?", "Reply so far: You said");
  await visitor.progress.getByText("Reading what was found").waitFor();
  assert.equal(await visitor.waiting.isVisible(), false);

  await lease.writes(" hello");
  await visitor.progress.waitFor({ state: "hidden" });
  await lease.finishes(".");
  await visitor.sees("You said: What did we say?", "Reply: You said hello.");
  assert.equal(await visitor.waiting.isVisible(), false);
});

scene("an agent that fails is quietly tried again, and what it wrote is gone", async (stage) => {
  const poller = stage.handPoller();
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.send("Hello?");
  const failing = await poller.lease();
  await failing.writes("He", "Waking up");
  await visitor.sees("You said: Hello?", "Reply so far: He");
  await failing.fails({ retry_after_seconds: 1 });
  await visitor.progress.getByText("Trying again…").waitFor();
  await visitor.waiting.waitFor();
  await visitor.sees("You said: Hello? [Sent]");

  const lease = await poller.lease();
  await visitor.progress.waitFor({ state: "hidden" });
  await lease.writes("Good day");
  await visitor.sees("You said: Hello?", "Reply so far: Good day");
  await lease.fails({ dead_letter: true });
  const notice = "Sorry, this message could not be answered. Please try again later.";
  await visitor.sees("You said: Hello?", `Notice: ${notice}`);
  await visitor.waiting.waitFor({ state: "hidden" });
  await visitor.stop.waitFor({ state: "hidden" });
});

scene(
  "while nobody is there, the visitor is told so, and no longer",
  async (stage) => {
    const visitor = await stage.visit();
    await visitor.open();
    const reader = await Reader.listen(visitor.page);
    await visitor.send("Anyone there?");
    await visitor.away.getByText(AWAY).waitFor();
    assert.equal(await visitor.waiting.isVisible(), false);
    const described = await visitor.input.getAttribute("aria-describedby");
    assert.equal(await visitor.away.getAttribute("id"), described);
    assert((await reader.said()).includes(AWAY));

    const poller = stage.handPoller();
    const lease = await poller.lease();
    const pulling = poller.lease();
    await visitor.waiting.waitFor();
    await visitor.away.getByText(AWAY).waitFor({ state: "detached" });
    await lease.writes("", "Finding the light");
    await visitor.progress.getByText("Finding the light").waitFor();

    poller.hangUp();
    await assert.rejects(pulling);
    await visitor.away.getByText(AWAY).waitFor();
    await visitor.progress.waitFor({ state: "hidden" });
    assert.equal(await visitor.waiting.isVisible(), false);

    await lease.finishes("Here I am.");
    await visitor.sees("You said: Anyone there?", "Reply: Here I am.");
  },
  { limits: { awayAfterSeconds: 0.2 } },
);

scene(
  "a page says in its own words that nobody is there",
  async (stage) => {
    const attributes = { "data-title": "Ask us", "data-away": "We bake. Back at six." };
    const visitor = await stage.visit({ attributes });
    await visitor.open();
    await visitor.send("Anyone there?");
    await visitor.away.getByText("We bake. Back at six.").waitFor();
  },
  { limits: { awayAfterSeconds: 0.2 } },
);
