/** Questions to begin with, to be sent by a press; gone once something has been said. */

import { choice } from "./choice.ts";
import { element } from "./dom.ts";

export class Starters {
  readonly node: HTMLElement;

  constructor(questions: readonly string[], send: (text: string) => void) {
    const buttons = questions.map((question) => choice("starter", question, send));
    this.node = element("div", { part: "starters" }, ...buttons);
  }
}
