/** The answers that the agent offers below its newest reply, to be sent by a press. */

import type { Conversation } from "../conversation.ts";
import { texts } from "../texts.ts";
import { choice } from "./choice.ts";
import { element } from "./dom.ts";

const NONE: readonly string[] = [];

export class QuickReplies {
  readonly node = element("div", {
    part: "quick-replies",
    role: "group",
    "aria-label": texts.quickReplies,
  });

  #send: (text: string) => void;
  #offered = NONE;

  constructor(send: (text: string) => void) {
    this.#send = send;
    this.node.hidden = true;
  }

  /** Whatever is said after a reply, or has yet to be answered, makes its offers stale. */
  show({ rows, activity }: Conversation): void {
    const isOpen = activity.awaited === undefined;
    const offered = (isOpen && rows.at(-1)?.quickReplies) || NONE;
    // What stays the same is to keep the focus, and not to be read out again.
    if (offered.join("\n") === this.#offered.join("\n")) return;
    this.#offered = offered;
    this.node.hidden = offered.length === 0;
    this.node.replaceChildren(...offered.map((text) => choice("quick-reply", text, this.#send)));
  }
}
