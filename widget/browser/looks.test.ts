import { holdPosts } from "./network.ts";
import { check } from "./picture.ts";
import { DEVICES, scene } from "./stage.ts";

const REPLY = `Yes, two of them: the buckwheat loaf, and on Fridays the chestnut one.

Both are baked before the rye, in an oven that is cleaned the evening before. If you are very \
sensitive, please ring us first: https://bakery.example/gluten-free`;
const [START = "", REST = ""] = REPLY.split(/(?= on Fridays)/);
const TOO_LONG = "and could you send me the whole recipe, step by step? ".repeat(8).trim();

for (const [device, options] of Object.entries(DEVICES)) {
  for (const colorScheme of ["light", "dark"] as const) {
    scene(
      `everyone can use it in each state (${device}, ${colorScheme})`,
      async (stage) => {
        const agent = await stage.agent();
        const visitor = await stage.visit({ policy: "none" });
        const { page } = visitor;
        const passes = (state: string) => check(page, `${state}-${device}-${colorScheme}`);
        await visitor.bubble.waitFor();
        await passes("closed");

        await visitor.open();
        await passes("empty");

        const release = await holdPosts(stage.context);
        await visitor.send("Hi! Do you bake anything without gluten?");
        await visitor.sees("You said: Hi! Do you bake anything without gluten? [Sending…]");
        await passes("sending");

        await release();
        await visitor.waiting.waitFor();
        await passes("waiting");

        await agent.replies(REPLY);
        await visitor.waiting.waitFor({ state: "hidden" });
        await visitor.send("Great.");
        await visitor.send("And are you open on Sundays?");
        await agent.replies("Glad to hear it.");
        await agent.replies("From eight to eleven.");
        await visitor.waiting.waitFor({ state: "hidden" });
        await passes("conversation");

        await visitor.input.fill(
          "One more thing:\n- how long does the loaf keep?\n- can I freeze it?",
        );
        await passes("writing");

        await visitor.send(TOO_LONG);
        await visitor.widget.getByRole("button", { name: "Try again" }).waitFor();
        await passes("failed");

        await visitor.send("Can I order by mail?");
        await agent.refuses();
        await visitor.widget.getByText("could not be answered").waitFor();
        await passes("notice");

        await visitor.send("Never mind. Thank you!");
        await visitor.waiting.waitFor();
        await visitor.close();
        await agent.replies("You are welcome.");
        await visitor.seesBubble("Open chat, 1 new message", { dot: true });
        await passes("unread");
        visitor.expectComplaint(/^Failed to load resource: .* 400/);
      },
      {
        limits: { maxMessageChars: 200 },
        browser: { ...options, colorScheme, reducedMotion: "reduce" },
      },
    );

    scene(
      `everyone can use it while a reply is on its way (${device}, ${colorScheme})`,
      async (stage) => {
        const visitor = await stage.visit({ policy: "none" });
        const passes = (state: string) => check(visitor.page, `${state}-${device}-${colorScheme}`);
        await visitor.open();
        await visitor.send("Hi! Do you bake anything without gluten?");
        await visitor.away.getByText("We are away").waitFor();
        await passes("away");

        const poller = stage.handPoller();
        const failing = await poller.lease();
        await failing.writes("", "Looking through the recipes");
        await visitor.progress.getByText("Looking").waitFor();
        await passes("progress");

        await failing.fails({ retry_after_seconds: 1 });
        await visitor.progress.getByText("Trying again…").waitFor();
        await passes("retrying");

        const lease = await poller.lease();
        await lease.writes(START, "Asking the baker");
        await visitor.progress.getByText("Asking the baker").waitFor();
        await passes("growing");

        await visitor.stop.focus();
        await passes("stop");
        await visitor.stop.press("Enter");
        await visitor.progress.getByText("Stopping…").waitFor();
        await passes("stopping");

        await lease.stops();
        await visitor.send("Go on.");
        await (await poller.lease()).finishes(REST.trim());
        await visitor.send("Thanks, that will do.");
        const last = await poller.lease();
        await visitor.stop.click();
        await last.stops();
        await visitor.waiting.waitFor({ state: "hidden" });
        await passes("stopped");
      },
      {
        limits: { awayAfterSeconds: 1 },
        browser: { ...options, colorScheme, reducedMotion: "reduce" },
      },
    );
  }
}
