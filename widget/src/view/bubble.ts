/** The round button in the page's corner. */

import { counted, texts } from "../texts.ts";
import { button, icon } from "./dom.ts";
import { CHAT } from "./icons.ts";

/** There is room for one digit. */
const MAX_SHOWN = 9;

export class Bubble {
  readonly node = button("bubble", icon(CHAT), texts.open);

  constructor(onPress: () => void) {
    this.node.setAttribute("aria-haspopup", "dialog");
    this.node.addEventListener("click", onPress);
  }

  set isOpen(isOpen: boolean) {
    this.node.dataset.open = String(isOpen);
    this.node.setAttribute("aria-expanded", String(isOpen));
  }

  set unread(count: number) {
    this.node.dataset.unread = count > MAX_SHOWN ? `${MAX_SHOWN}+` : String(count);
    const label = count > 0 ? counted(texts.openUnread, count) : texts.open;
    this.node.setAttribute("aria-label", label);
  }

  focus(): void {
    this.node.focus({ preventScroll: true });
  }
}
