/** Questions to begin with, to be sent by a press; gone once something has been said. */

import { button, element } from "./dom.ts";

export class Starters {
  readonly node: HTMLElement;

  constructor(questions: readonly string[], send: (text: string) => void) {
    const buttons = questions.map((question) => {
      const node = button("starter", question);
      node.dir = "auto";
      node.addEventListener("click", () => send(question));
      return node;
    });
    this.node = element("div", { part: "starters" }, ...buttons);
  }
}
