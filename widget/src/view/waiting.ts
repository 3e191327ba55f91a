/** That a reply is on its way: dots until it has text, and a few words on what goes on. */

import type { Activity } from "../activity.ts";
import { texts } from "../texts.ts";
import { element } from "./dom.ts";

export class Waiting {
  readonly node: HTMLElement;

  #dots: HTMLElement;
  #progress: HTMLElement;

  constructor() {
    const dots = [element("i"), element("i"), element("i")];
    this.#dots = element("div", { part: "dots", "aria-hidden": "true" }, ...dots);
    this.#progress = element("div", { part: "progress", dir: "auto" });
    this.node = element("div", { part: "waiting" }, this.#dots, this.#progress);
  }

  /** While the host is away nobody writes, so there are no dots either. */
  show({ awaited, phase, progress = "", isHostAway }: Activity, hasText: boolean): void {
    const words = phase === "working" ? progress : texts[phase];
    this.#dots.hidden = hasText || isHostAway;
    this.node.hidden = awaited === undefined || (this.#dots.hidden && words === "");
    // What stays the same is not to be read out again.
    if (this.#progress.textContent !== words) this.#progress.textContent = words;
  }
}
