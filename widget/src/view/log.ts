/** The list of what was said. */

import type { Conversation, Row } from "../conversation.ts";
import { texts } from "../texts.ts";
import { button, element } from "./dom.ts";
import { messageNode, showDelivery } from "./message.ts";

/** This near to the end, in pixels, the visitor counts as reading the newest message. */
const END_TOLERANCE = 64;

export interface LogActions {
  retry(name: string): void;
  loadEarlier(): Promise<void>;
}

interface Shown {
  readonly row: Row;
  readonly node: HTMLElement;
}

export class Log {
  readonly node: HTMLElement;

  #actions: LogActions;
  #earlier: HTMLButtonElement;
  #greeting: HTMLElement;
  #waiting: HTMLElement;
  #shown = new Map<string, Shown>();
  /** Whether the visitor was reading the newest message when they last scrolled. */
  #isAtEnd = true;

  constructor(greeting: string, actions: LogActions) {
    this.#actions = actions;
    this.#earlier = button("earlier", texts.earlier);
    this.#earlier.addEventListener("click", () => this.#loadEarlier());
    this.#greeting = element("div", { part: "greeting", dir: "auto" }, greeting);
    const dots = [element("i"), element("i"), element("i")];
    this.#waiting = element("div", { part: "waiting", "aria-hidden": "true" }, ...dots);
    this.node = element("div", {
      part: "log",
      role: "log",
      "aria-live": "polite",
      "aria-label": texts.log,
      tabindex: "0",
    });
    this.node.append(this.#earlier, this.#greeting, this.#waiting);
    this.node.addEventListener("scroll", () => {
      this.#isAtEnd = this.#seesEnd();
    });
    // As the composer grows or a keyboard slides in, the newest message is not to be covered.
    new ResizeObserver(() => {
      if (this.#isAtEnd) this.scrollToEnd();
    }).observe(this.node);
  }

  show({ rows, hasEarlier, isWaiting }: Conversation): void {
    const { scrollTop } = this.node;
    const wasAtEnd = this.#seesEnd();
    const newest = rows.at(-1);
    const hasOwnNews = newest?.delivery === "sending" && !this.#shown.has(newest.name);

    const oldest = this.#oldestNode();
    const offset = oldest?.offsetTop ?? 0;
    this.#earlier.hidden = !hasEarlier;
    this.#greeting.hidden = hasEarlier;
    this.#waiting.hidden = !isWaiting;
    this.#showRows(rows);

    if (wasAtEnd || hasOwnNews) this.scrollToEnd();
    else if (oldest?.isConnected) this.node.scrollTop = scrollTop + oldest.offsetTop - offset;
  }

  scrollToEnd(): void {
    this.node.scrollTop = this.node.scrollHeight;
    this.#isAtEnd = true;
  }

  #seesEnd(): boolean {
    const { scrollTop, scrollHeight, clientHeight } = this.node;
    return scrollHeight - scrollTop - clientHeight < END_TOLERANCE;
  }

  /** Makes the children follow the rows. */
  #showRows(rows: readonly Row[]): void {
    const before = this.#shown;
    this.#shown = new Map();
    let previous: Element = this.#greeting;
    for (const row of rows) {
      const node = this.#nodeFor(row, before.get(row.name));
      before.delete(row.name);
      if (previous.nextSibling !== node) previous.after(node);
      this.#shown.set(row.name, { row, node });
      previous = node;
    }
    for (const { node } of before.values()) node.remove();
  }

  #nodeFor(row: Row, shown: Shown | undefined): HTMLElement {
    const retry = (name: string) => this.#retry(name);
    if (!shown) return messageNode(row, retry);
    if (shown.row.delivery !== row.delivery) showDelivery(shown.node, row, retry);
    return shown.node;
  }

  #oldestNode(): HTMLElement | undefined {
    return this.#shown.values().next().value?.node;
  }

  async #loadEarlier(): Promise<void> {
    this.#earlier.disabled = true;
    // What is old is shown, but not read out.
    this.node.ariaLive = "off";
    try {
      await this.#actions.loadEarlier();
    } catch {
      // The button stays; pressing it again is the retry.
    } finally {
      this.#earlier.disabled = false;
      requestAnimationFrame(() => {
        this.node.ariaLive = "polite";
      });
    }
  }

  /** Sends again; the button goes away with the failure, so the focus moves to the log. */
  #retry(name: string): void {
    this.node.focus({ preventScroll: true });
    this.#actions.retry(name);
  }
}
