/** The work that a relay may ask for: done by the browser, and noticed by nobody. */

import { scene } from "./stage.ts";
import { until } from "./until.ts";

/** What the documentation names as 0.1 to 0.3 seconds. */
const HASHES = 20_000;
const REFUSAL =
  "a conversation begins with a proof of work, which a page that came by https can compute";

scene(
  "where the relay asks for work first, the browser does it and the message goes out",
  async (stage) => {
    const visitor = await stage.visit();
    await visitor.open();
    const from = performance.now();
    await visitor.send("Let me in");
    await visitor.sees("You said: Let me in [Sent]");
    const ms = Math.round(performance.now() - from);
    console.log(`A proof of ${HASHES} hashes on average, computed and taken: ${ms} ms`);
    visitor.expectComplaint(/428/);
    await visitor.send("And once more");
    await until(() => stage.stored(), ["visitor: Let me in", "visitor: And once more"]);
  },
  { limits: { proofOfWork: HASHES } },
);

scene(
  "where the browser does not hash, the visitor is told what is missing",
  async (stage) => {
    await stage.context.addInitScript(() =>
      Object.defineProperty(Crypto.prototype, "subtle", { value: undefined }),
    );
    const visitor = await stage.visit();
    await visitor.open();
    await visitor.send("Let me in");
    await visitor.sees(`You said: Let me in [Not sent: ${REFUSAL}. Try again]`);
    visitor.expectComplaint(/428/);
  },
  { limits: { proofOfWork: HASHES } },
);
