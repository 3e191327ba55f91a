import assert from "node:assert/strict";
import { check } from "./picture.ts";
import { DEVICES, scene } from "./stage.ts";
import { until } from "./until.ts";

const REPLY = `Two ways:

1. **By mail**
   - to [the shop](https://bakery.example/shop?a=1&b=2)
2. \`bread order\`

| Loaf | Price |
|------|-------|
| Rye  | 4 €   |

\`\`\`sh
bread order --rye 2
\`\`\`

![oven](https://bakery.example/oven.png) <img src=x onerror=alert(1)>
[no](javascript:alert(1))`;

scene("a reply's Markdown is shown, and nothing in it is loaded or run", async (stage) => {
  const agent = await stage.agent();
  const visitor = await stage.visit();
  const asked: string[] = [];
  visitor.page.on("request", (request) => asked.push(request.url()));
  await visitor.open();
  await visitor.send("**How** do I order?");
  await visitor.sees("You said: **How** do I order? [Sent]");
  await agent.replies(REPLY);

  const text = visitor.widget.locator("[data-role=agent] [part=text]");
  await text.getByRole("table").getByText("4 €").waitFor();
  await text.getByRole("listitem").getByText("to the shop").waitFor();
  await text.getByText("<img src=x onerror=alert(1)>").waitFor();
  await text.getByText("[no](javascript:alert(1))").waitFor();
  assert.deepEqual(
    await text.getByRole("link").evaluateAll((all) => all.map((link) => link.getAttribute("href"))),
    ["https://bakery.example/shop?a=1&b=2", "https://bakery.example/oven.png"],
  );
  assert.deepEqual(
    asked.filter((url) => !url.startsWith(stage.relay.address)),
    [],
  );
});

scene("what is selected in a reply stays selected when the next one comes", async (stage) => {
  const agent = await stage.agent();
  const visitor = await stage.visit();
  await visitor.open();
  await visitor.send("one");
  await visitor.send("two");
  await agent.replies("The first *reply*");
  const word = visitor.widget.locator("em");
  await word.dblclick();
  const selected = () => visitor.page.evaluate(() => getSelection()?.toString());
  await until(selected, "reply");
  await agent.replies("The second");
  await visitor.widget.getByText("The second").waitFor();
  assert.equal(await selected(), "reply");
});

for (const permissions of [["clipboard-write", "clipboard-read"], []]) {
  const how = permissions.length > 0 ? "with" : "without";
  scene(`a block of code is copied by its button, ${how} the permission to`, async (stage) => {
    const agent = await stage.agent();
    const visitor = await stage.visit();
    await stage.context.grantPermissions(permissions);
    if (permissions.length === 0) {
      await visitor.page.evaluate(() => {
        navigator.clipboard.writeText = () => Promise.reject(new DOMException("no"));
      });
    }
    await visitor.open();
    await visitor.send("How?");
    await agent.replies("```\nbread order\n```");

    await visitor.widget.getByRole("button", { name: "Copy" }).click();
    await visitor.widget.getByRole("button", { name: "Copied" }).waitFor();
    await visitor.input.click();
    await visitor.page.keyboard.press("Control+V");
    await until(() => visitor.input.inputValue(), "bread order");
  });
}

const LONG = `## Sourdough, in short

You need **flour**, *water* and ~~yeast~~ patience. Keep to the [recipe](https://bakery.example).

> Bread is alive.
> Do not hurry it.

- Mix, then wait
  1. half an hour
  2. or a night, at \`5 °C\`
- Bake

| Step | Minutes | Temperature | What to look for |
|------|---------|-------------|------------------|
| Rise | 90 | 26 °C | twice the size |
| Bake | 45 | 240 °C | a dark crust |

---

\`\`\`python
def bake(loaf, minutes=45):
    return oven.heat(loaf, minutes, temperature=240, steam=True)
\`\`\``;

for (const [device, options] of Object.entries(DEVICES)) {
  for (const colorScheme of ["light", "dark"] as const) {
    scene(
      `everyone can read Markdown (${device}, ${colorScheme})`,
      async (stage) => {
        const agent = await stage.agent();
        const visitor = await stage.visit({ policy: "none" });
        await visitor.open();
        await visitor.send("How?");
        await agent.replies(LONG);
        const text = visitor.widget.locator("[data-role=agent] [part=text]");
        await text.getByText("def bake").waitFor();
        await check(visitor.page, `markdown-end-${device}-${colorScheme}`);
        await text.getByRole("heading").scrollIntoViewIfNeeded();
        await check(visitor.page, `markdown-${device}-${colorScheme}`);
      },
      { browser: { ...options, colorScheme, reducedMotion: "reduce" } },
    );
  }
}
