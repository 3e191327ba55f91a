import assert from "node:assert/strict";
import { check } from "./picture.ts";
import { DEVICES, scene } from "./stage.ts";

const title = { "data-title": "Ask us" };

scene("the widget speaks the language it is told, else the page's", async (stage) => {
  const told = await stage.visit({ lang: "fr", attributes: { ...title, "data-lang": "de-AT" } });
  await told.widget.getByRole("button", { name: "Chat öffnen" }).waitFor();
  const page = await stage.visit({ lang: "fr" });
  await page.widget.getByRole("button", { name: "Ouvrir la discussion" }).waitFor();
});

scene(
  "on a page that tells no language, it speaks the browser's",
  async (stage) => {
    const visitor = await stage.visit({ lang: "" });
    await visitor.widget.getByRole("button", { name: "チャットを開く" }).waitFor();
  },
  { browser: { locale: "ja" } },
);

scene(
  "where lines run from right to left, so does the widget",
  async (stage) => {
    const visitor = await stage.visit({ lang: "ar" });
    const { x = Infinity } = (await visitor.bubble.boundingBox()) ?? {};
    assert(x < 40);
    const right = await stage.visit({ lang: "ar", attributes: { "data-position": "right" } });
    assert(((await right.bubble.boundingBox())?.x ?? 0) > 1000);
    const forced = await stage.visit({ attributes: { "data-dir": "rtl" } });
    assert(((await forced.bubble.boundingBox())?.x ?? Infinity) < 40);
  },
  { browser: DEVICES.desktop },
);

for (const [device, options] of Object.entries(DEVICES)) {
  scene(
    `everyone can use it from right to left (${device})`,
    async (stage) => {
      const agent = await stage.agent();
      const visitor = await stage.visit({ policy: "none", lang: "ar" });
      await visitor.bubble.click();
      await visitor.widget.getByRole("textbox").fill("هل لديكم خبز بدون غلوتين؟");
      await visitor.page.keyboard.press("Enter");
      await agent.replies(
        "نعم، **نوعان**:\n\n1. خبز الحنطة السوداء\n2. خبز الكستناء\n\n> يوم الجمعة فقط",
      );
      await visitor.widget.getByText("نوعان").waitFor();
      await visitor.widget.getByRole("textbox").fill("Thanks! English too?");
      await visitor.page.keyboard.press("Enter");
      await agent.replies("Of course:\n- one\n- two");
      await visitor.widget.getByText("Of course").waitFor();
      await check(visitor.page, `rtl-${device}`);
    },
    { browser: { ...options, reducedMotion: "reduce" } },
  );
}

scene("a page in English asks for no words, any other for one file that is kept", async (stage) => {
  const asked: string[] = [];
  stage.context.on("request", (request) => {
    if (request.url().includes("/texts/")) asked.push(request.url());
  });
  await (await stage.visit({ lang: "en" })).open();
  assert.deepEqual(asked, []);
  const visitor = await stage.visit({ lang: "fr" });
  await visitor.widget.getByRole("button", { name: "Ouvrir la discussion" }).waitFor();
  assert.equal(asked.length, 1);
  const { headers } = await fetch(String(asked[0]));
  assert.equal(headers.get("cache-control"), "public, max-age=31536000, immutable");
});

scene(
  "words are shown as text, and English stands in for those that are missing",
  async (stage) => {
    await stage.context.route("**/texts/**", (route) =>
      route.fulfill({
        headers: { "Access-Control-Allow-Origin": "*" },
        json: { open: "<b>Öffnen</b>", greeting: "<img src=x onerror=alert(1)>" },
      }),
    );
    const visitor = await stage.visit({ lang: "de" });
    await visitor.widget.getByRole("button", { name: "<b>Öffnen</b>" }).click();
    await visitor.widget.getByText("<img src=x onerror=alert(1)>").waitFor();
    await visitor.input.waitFor();
  },
);

scene(
  "without words in time it speaks English, and no page waits for them in vain",
  async (stage) => {
    let shown: number | undefined;
    await stage.context.route("**/texts/**", async (route) => {
      shown = await route
        .request()
        .frame()
        .evaluate(() => {
          const element = document.querySelector<HTMLElement & { open(): void }>("postern-chat");
          element?.open();
          return element?.shadowRoot?.childElementCount;
        });
    });
    const slow = await stage.visit({ lang: "ar" });
    await slow.input.waitFor();
    assert.equal(shown, 0, "what will be in another language is not shown yet");
    assert.equal(await slow.panel.getAttribute("dir"), "ltr");

    await stage.context.unroute("**/texts/**");
    await stage.context.route("**/texts/**", (route) => route.abort());
    const failed = await stage.visit({ lang: "ar" });
    await failed.open();
    failed.expectComplaint(/ERR_FAILED/);
  },
);
