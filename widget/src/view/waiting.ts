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

  show({ awaited, phase, progress = "", isHostAway }: Activity, hasText: boolean): void {
    const words = phase === "working" ? progress : texts[phase];
    // While the host is away nobody writes, whatever was told before.
    const isIdle = awaited === undefined || (isHostAway && phase !== "stopping");
    this.#dots.hidden = hasText;
    this.node.hidden = isIdle || (hasText && words === "");
    // What stays the same is not to be read out again.
    if (this.#progress.textContent !== words) this.#progress.textContent = words;
  }
}
