import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { scene } from "./stage.ts";

const identitySecret = "not-a-secret-of-the-shop-at-all-but-long-enough";

/** What the site's own server says of a visitor, for so many seconds. */
function signed(sub: string, seconds: number): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const exp = Math.floor(Date.now() / 1_000) + seconds;
  const content = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub, exp })}`;
  return `${content}.${createHmac("sha256", identitySecret).update(content).digest("base64url")}`;
}

scene(
  "a visitor that the site's server vouches for is known to the operator",
  async (stage) => {
    const attributes = { "data-title": "Ask us", "data-site": "shop" };
    const visitor = await stage.visit({ attributes });
    const identify = (token: string) =>
      visitor.widget.evaluate((element, token) => {
        (element as HTMLElement & { identify(who: object): void }).identify({ token });
      }, token);
    const refusal = visitor.widget.evaluate(
      (element) =>
        new Promise<string>((resolve) =>
          element.addEventListener("postern:identity", (event) =>
            resolve((event as CustomEvent<{ error: string }>).detail.error),
          ),
        ),
    );
    await identify(signed("ada", -3_600));
    await visitor.open();
    await visitor.send("Is my order baked?");
    assert.notEqual(await refusal, "");
    visitor.expectComplaint(/401/);
    await identify(signed("ada", 3_600));
    await visitor.sees("You said: Is my order baked? [Sent]");
    const { state, sub } = await stage.relay.visitor();
    assert.deepEqual([state, sub], ["verified", "ada"]);
  },
  { limits: { identitySecret } },
);
