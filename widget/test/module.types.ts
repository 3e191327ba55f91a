/** Holds the hand-written types of the ES module against what it is made of; only compiled. */

import type * as Declared from "../src/widget.d.mts";
import type { Events } from "../src/widget.ts";

declare const made: typeof import("../src/module.ts");
made satisfies typeof Declared;

type Detail = {
  [Name in keyof Events]: Declared.PosternEventMap[`postern:${Name}`]["detail"];
};
declare const details: Events;
details satisfies Detail;
declare const declared: Detail;
declared satisfies Events;
