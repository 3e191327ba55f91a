import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import { check } from "./picture.ts";
import { output } from "./process.ts";
import { DEVICES, scene } from "./stage.ts";
import { until } from "./until.ts";
import type { Visitor } from "./visitor.ts";

scene(
  "settings come from the page's object, and before them from the script line",
  async (stage) => {
    await stage.context.addInitScript(() => {
      window.PosternSettings = {
        title: "From the object",
        placeholder: "Ask away",
        position: "left",
        texts: { send: "Off it goes" },
      };
    });
    const visitor = await stage.visit();
    await visitor.open();
    await visitor.widget.getByRole("textbox", { name: "Ask away" }).waitFor();
    await visitor.widget.getByRole("button", { name: "Off it goes" }).waitFor();
    assert(((await visitor.bubble.boundingBox())?.x ?? Infinity) < 100);
  },
);

scene("calls made before the script is there are made up for", async (stage) => {
  await stage.context.addInitScript(() => {
    const q: unknown[][] = [];
    const stub = Object.assign((...call: unknown[]) => q.push(call), { q });
    Object.assign(window, { Postern: stub });
    stub("on", "ready", () => document.body.append("It is ready."));
    stub("open");
  });
  const visitor = await stage.visit();
  await visitor.panel.waitFor();
  await visitor.page.getByText("It is ready.").waitFor();
});

scene("the page can do what the visitor can", async (stage) => {
  stage.echo();
  const visitor = await stage.visit();
  await visitor.bubble.waitFor();
  await call(visitor.page, "open");
  await visitor.panel.waitFor();
  await call(visitor.page, "toggle");
  await visitor.panel.waitFor({ state: "hidden" });
  await call(visitor.page, "toggle");
  await call(visitor.page, "send", " hi ");
  await visitor.sees("You said: hi", "Reply: hi");
  await call(visitor.page, "close");
  await visitor.panel.waitFor({ state: "hidden" });
  await call(visitor.page, "hide");
  await visitor.bubble.waitFor({ state: "hidden" });
  await call(visitor.page, "show");
  await visitor.bubble.waitFor();
});

scene("the page is told what happens", async (stage) => {
  const agent = await stage.agent();
  const visitor = await stage.visit();
  await visitor.bubble.waitFor();
  const told = await listen(visitor);
  await visitor.open();
  await visitor.send("hi");
  await agent.replies("*Hello*");
  await visitor.sees("You said: hi", "Reply: Hello");
  await visitor.close();
  await call(visitor.page, "send", "still there?");
  await agent.replies("Yes");
  await until(told, [
    "open",
    'send {"text":"hi"}',
    'message {"role":"agent","text":"*Hello*"}',
    "close",
    'send {"text":"still there?"}',
    'message {"role":"agent","text":"Yes"}',
    'unread {"count":1}',
  ]);
});

scene("what the page tells of the visitor goes along with each message", async (stage) => {
  const visitor = await stage.visit();
  await visitor.bubble.waitFor();
  const sent = async (text: string) => {
    const request = visitor.page.waitForRequest((request) => request.method() === "POST");
    await call(visitor.page, "send", text);
    return (await request).postDataJSON();
  };
  assert.equal((await sent("one")).metadata, undefined);
  await call(visitor.page, "setContext", { page: "/rye", cart: 3 });
  assert.deepEqual((await sent("two")).metadata, { page: "/rye", cart: 3 });
  await call(visitor.page, "identify", { name: "Ada" });
  await call(visitor.page, "setContext", { page: "/spelt" });
  assert.deepEqual((await sent("three")).metadata, { page: "/spelt", visitor: { name: "Ada" } });
});

scene("a reset forgets the conversation, and the next message begins another", async (stage) => {
  stage.echo();
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.send("one");
  await visitor.sees("You said: one", "Reply: one");
  await call(visitor.page, "reset");
  await visitor.sees();
  await visitor.panel.waitFor();
  await visitor.send("two");
  await visitor.sees("You said: two", "Reply: two");
  assert.equal((await stage.relay.sessionIds()).length, 2);
  await visitor.page.reload();
  await visitor.open();
  await visitor.sees("You said: two", "Reply: two");
});

scene("settings can change while the visitor writes", async (stage) => {
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.input.fill("half a sent");
  await call(visitor.page, "update", { lang: "de", title: "Fragen?" });
  await visitor.widget.getByRole("dialog", { name: "Fragen?" }).waitFor();
  const input = visitor.widget.getByRole("textbox", { name: "Nachricht schreiben" });
  assert.equal(await input.inputValue(), "half a sent");
});

const SWAPS = {
  "another body": () => {
    const body = document.createElement("body");
    body.append("Another page");
    document.body.replaceWith(body);
  },
  "another content": () => {
    document.body.replaceChildren("Another page");
  },
};

for (const [what, swap] of Object.entries(SWAPS)) {
  scene(`a page that swaps in ${what} keeps the chat as it is`, async (stage) => {
    stage.echo();
    const visitor = await stage.visit();
    await visitor.open();
    await visitor.send("hi");
    await visitor.sees("You said: hi", "Reply: hi");
    await visitor.input.fill("and");
    for (let times = 0; times < 2; times += 1) {
      await visitor.page.evaluate(swap);
      await visitor.page.getByText("Another page").waitFor();
      await visitor.panel.waitFor();
      await visitor.sees("You said: hi", "Reply: hi");
      assert.equal(await visitor.input.inputValue(), "and");
    }
    await visitor.input.press("Enter");
    await visitor.sees("You said: hi", "Reply: hi", "You said: and", "Reply: and");
    assert.equal(await visitor.widget.count(), 1);
  });
}

scene("an element that was removed or destroyed does not come back", async (stage) => {
  for (const remove of ["remove", "destroy"] as const) {
    const visitor = await stage.visit();
    await visitor.bubble.waitFor();
    await visitor.widget.evaluate((element, remove) => {
      const chat = element as HTMLElement & { destroy(): void };
      chat[remove]();
      if (remove === "destroy") document.querySelector("main")?.remove();
    }, remove);
    await visitor.page.evaluate(() => document.body.append("more"));
    await visitor.page.getByText("more").waitFor();
    assert.equal(await visitor.widget.count(), 0);
  }
});

scene("an element that was removed leaves nothing behind", async (stage) => {
  stage.echo();
  const visitor = await stage.visit();
  const { page } = visitor;
  await visitor.open();
  // A form that was typed into is kept by the browser's own autofill, for a while.
  await call(page, "send", "hi");
  await visitor.sees("You said: hi", "Reply: hi");
  await page.evaluate(() => {
    const element = document.querySelector("postern-chat");
    const all = [element, ...(element?.shadowRoot?.querySelectorAll("*") ?? [])];
    const refs = all.map((node) => new WeakRef(node as Element));
    Object.assign(window, { refs });
    element?.remove();
  });
  const devtools = await stage.context.newCDPSession(page);
  const left = async () => {
    await devtools.send("HeapProfiler.collectGarbage");
    return page.evaluate(() => {
      const refs: WeakRef<Element>[] = Reflect.get(window, "refs");
      return refs.filter((ref) => ref.deref()).length;
    });
  };
  await until(left, 0);
  await until(() => stage.relay.streams(), 0);
});

scene("the line that the relay prints runs this version and no other", async (stage) => {
  const line = output("postern-relay", ["embed", stage.relay.address]);
  const embed = async (visitor: Visitor) => {
    await visitor.page.evaluate((line) => {
      document.head.append(document.createRange().createContextualFragment(line));
    }, line);
  };
  const visitor = await stage.visit({ lines: 0, policy: "none" });
  await embed(visitor);
  await visitor.bubble.waitFor();

  await stage.context.route("**/widget.js?v=*", async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: `${await response.text()} ` });
  });
  const other = await stage.visit({ lines: 0, policy: "none" });
  await embed(other);
  await until(() => other.complaints.length, 1);
  other.expectComplaint(/integrity/);
  assert.equal(await other.widget.count(), 0);
});

scene("the module puts an element on the page too", async (stage) => {
  stage.echo();
  const visitor = await stage.visit({ lines: 0 });
  await visitor.page.evaluate(async (relay) => {
    const { embed, Postern } = await import(`${relay}/widget.mjs`);
    embed({ relay, title: "Ask us" });
    Postern.open();
  }, stage.relay.address);
  await visitor.panel.waitFor();
  await visitor.send("hi");
  await visitor.sees("You said: hi", "Reply: hi");
  assert.equal(await visitor.page.evaluate(() => "Postern" in window), false);
});

for (const mode of ["inline", "full-page"]) {
  for (const [device, options] of Object.entries(DEVICES)) {
    scene(
      `everyone can use it as a part of the page (${mode}, ${device})`,
      async (stage) => {
        stage.echo();
        const visitor = await stage.visit({ policy: "none", lines: 0 });
        await visitor.page.evaluate(
          ([relay, mode]) => {
            document
              .querySelector("main")
              ?.insertAdjacentHTML(
                "beforeend",
                `<postern-chat mode="${mode}" data-title="Ask us"></postern-chat>`,
              );
            const script = document.createElement("script");
            script.src = `${relay}/widget.js`;
            document.head.append(script);
          },
          [stage.relay.address, mode] as const,
        );
        await visitor.widget.getByRole("region", { name: "Ask us" }).waitFor();
        assert.equal(await visitor.bubble.count(), 0);
        await visitor.send("Do you bake anything without gluten?");
        await visitor.widget.getByText("Do you").nth(1).waitFor();
        await check(visitor.page, `${mode}-${device}`);
      },
      { browser: { ...options, reducedMotion: "reduce" } },
    );
  }
}

/** As the page's own script would. */
async function call(page: Page, command: string, ...rest: unknown[]): Promise<void> {
  await page.evaluate(
    ([command, ...rest]) => {
      const { Postern } = window;
      if (typeof Postern !== "function") throw new Error("The API is not there.");
      Postern(command, ...rest);
    },
    [command, ...rest] as const,
  );
}

/** Notes the events of the page's element; gives a way to read them. */
async function listen({ page }: Visitor): Promise<() => Promise<string[]>> {
  await page.evaluate(() => {
    const told: string[] = [];
    Object.assign(window, { told });
    for (const name of ["ready", "open", "close", "send", "message", "unread"]) {
      addEventListener(`postern:${name}`, (event) => {
        const { id, timestamp, ...rest } = (event as CustomEvent).detail ?? {};
        told.push(Object.keys(rest).length > 0 ? `${name} ${JSON.stringify(rest)}` : name);
      });
    }
  });
  return () => page.evaluate(() => Reflect.get(window, "told") as string[]);
}
