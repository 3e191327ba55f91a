/** The list of what was said. */

import type { Conversation } from "../conversation.ts";
import { isDraft } from "../draft.ts";
import type { Row } from "../row.ts";
import { texts } from "../texts.ts";
import { button, element } from "./dom.ts";
import { messageNode, updateMessage } from "./message.ts";
import { Waiting } from "./waiting.ts";

/** Whoever scrolls down this near to the end, in pixels, is taken along as it moves. */
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
  #waiting = new Waiting();
  #shown = new Map<string, Shown>();
  #scrollTop = 0;
  /** Whether the visitor was reading the newest message when they last scrolled. */
  #isAtEnd = true;

  constructor(greeting: string, actions: LogActions) {
    this.#actions = actions;
    this.#earlier = button("earlier", texts.earlier);
    this.#earlier.addEventListener("click", () => this.#loadEarlier());
    this.#greeting = element("div", { part: "greeting", dir: "auto" }, greeting);
    this.node = element("div", {
      part: "log",
      role: "log",
      "aria-live": "polite",
      "aria-label": texts.log,
      tabindex: "0",
    });
    this.node.append(this.#earlier, this.#greeting, this.#waiting.node);
    this.node.addEventListener("scroll", () => this.#onScroll());
    // As the composer grows or a keyboard slides in, the newest message is not to be covered.
    new ResizeObserver(() => {
      if (this.#isAtEnd) this.scrollToEnd();
    }).observe(this.node);
  }

  show({ rows, hasEarlier, activity }: Conversation): void {
    const { scrollTop } = this.node;
    const newest = rows.at(-1);
    const hasOwnNews = newest?.delivery === "sending" && !this.#shown.has(newest.name);

    const oldest = this.#oldestNode();
    const offset = oldest?.offsetTop ?? 0;
    this.#earlier.hidden = !hasEarlier;
    this.#greeting.hidden = hasEarlier;
    this.#waiting.show(activity, rows.some(isDraft));
    this.#showRows(rows);

    if (this.#isAtEnd || hasOwnNews) this.scrollToEnd();
    else if (oldest?.isConnected) this.node.scrollTop = scrollTop + oldest.offsetTop - offset;
  }

  scrollToEnd(): void {
    this.node.scrollTop = this.node.scrollHeight;
    this.#isAtEnd = true;
  }

  #onScroll(): void {
    const { scrollTop, scrollHeight, clientHeight } = this.node;
    // Who scrolls up, however little, is not to be pulled back by a reply that grows.
    const tolerance = scrollTop < this.#scrollTop ? 1 : END_TOLERANCE;
    this.#isAtEnd = scrollHeight - scrollTop - clientHeight <= tolerance;
    this.#scrollTop = scrollTop;
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
    updateMessage(shown.node, shown.row, row, retry);
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
