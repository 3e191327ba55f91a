/** The list of what was said. */

import type { Conversation } from "../conversation.ts";
import { isDraft } from "../draft.ts";
import type { Row } from "../row.ts";
import { texts } from "../texts.ts";
import { dayNode, dayOf } from "./days.ts";
import { button, element, icon } from "./dom.ts";
import { DOWN } from "./icons.ts";
import { type MessageActions, messageNode, updateMessage } from "./message.ts";
import { QuickReplies } from "./quick-replies.ts";
import { Waiting } from "./waiting.ts";

/** Whoever scrolls down this near to the end, in pixels, is taken along as it moves. */
const END_TOLERANCE = 64;

export interface LogActions extends MessageActions {
  send(text: string): void;
  loadEarlier(): Promise<void>;
}

interface Shown {
  readonly row: Row;
  readonly node: HTMLElement;
  readonly day: number;
}

export class Log {
  readonly node: HTMLElement;
  /** There while the newest message is out of sight; not a part of what is read out. */
  readonly latest = button("latest", icon(DOWN), texts.latest);

  #actions: LogActions;
  #earlier: HTMLButtonElement;
  #greeting: HTMLElement;
  #waiting = new Waiting();
  #quickReplies: QuickReplies;
  #shown = new Map<string, Shown>();
  /** By the name of the row that each stands before. */
  #days = new Map<string, HTMLElement>();
  #newest: HTMLElement | undefined;
  #scrollTop = 0;
  /** Whether the visitor was reading the newest message when they last scrolled. */
  #isAtEnd = true;

  constructor(actions: LogActions) {
    // A button that goes away with its press leaves the focus to the log.
    const leaving = (act: (value: string) => void) => (value: string) => {
      this.node.focus({ preventScroll: true });
      act(value);
    };
    this.#actions = { ...actions, send: leaving(actions.send), retry: leaving(actions.retry) };
    this.#quickReplies = new QuickReplies(this.#actions.send);
    this.#earlier = button("earlier", texts.earlier);
    this.#earlier.addEventListener("click", () => this.#loadEarlier());
    this.#greeting = element("div", { part: "greeting", dir: "auto" }, texts.greeting);
    this.node = element("div", {
      part: "log",
      role: "log",
      "aria-live": "polite",
      "aria-label": texts.log,
      tabindex: "0",
    });
    this.node.append(this.#earlier, this.#greeting, this.#waiting.node, this.#quickReplies.node);
    this.node.addEventListener("scroll", () => this.#onScroll());
    this.latest.hidden = true;
    this.latest.addEventListener("click", () => {
      this.node.focus({ preventScroll: true });
      this.scrollToEnd();
    });
    // As the composer grows or a keyboard slides in, the newest message is not to be covered.
    new ResizeObserver(() => {
      if (this.#isAtEnd) this.scrollToEnd();
    }).observe(this.node);
  }

  show(conversation: Conversation): void {
    const { rows, hasEarlier, activity } = conversation;
    const { scrollTop } = this.node;
    const newest = rows.at(-1);
    const hasOwnNews = newest?.delivery === "sending" && !this.#shown.has(newest.name);

    const oldest = this.#oldestNode();
    const offset = oldest?.offsetTop ?? 0;
    this.#earlier.hidden = !hasEarlier;
    this.#greeting.hidden = hasEarlier;
    this.#waiting.show(activity, rows.some(isDraft));
    this.#showRows(rows);
    this.#markNewest(rows.findLast(({ role }) => role === "agent"));
    this.#quickReplies.show(conversation);

    if (this.#isAtEnd || hasOwnNews) this.scrollToEnd();
    else if (oldest?.isConnected) this.node.scrollTop = scrollTop + oldest.offsetTop - offset;
    this.latest.hidden = this.#isAtEnd;
  }

  scrollToEnd(): void {
    this.node.scrollTop = this.node.scrollHeight;
    this.#isAtEnd = true;
    this.latest.hidden = true;
  }

  #onScroll(): void {
    const { scrollTop, scrollHeight, clientHeight } = this.node;
    // Who scrolls up, however little, is not to be pulled back by a reply that grows.
    const tolerance = scrollTop < this.#scrollTop ? 1 : END_TOLERANCE;
    this.#isAtEnd = scrollHeight - scrollTop - clientHeight <= tolerance;
    this.#scrollTop = scrollTop;
    this.latest.hidden = this.#isAtEnd;
  }

  /** Makes the children follow the rows, with the days between them. */
  #showRows(rows: readonly Row[]): void {
    const [before, days] = [this.#shown, this.#days];
    this.#shown = new Map();
    this.#days = new Map();
    let last: Element = this.#greeting;
    let previous: Shown | undefined;
    for (const row of rows) {
      const shown = this.#shownRow(row, before.get(row.name));
      const isNewDay = shown.day !== (previous?.day ?? dayOf(Date.now()));
      if (isNewDay) last = follow(last, this.#dayBefore(row, shown.day, days));
      last = follow(last, shown.node);
      noteNext(previous, isNewDay ? "day" : row.role);
      previous = shown;
      before.delete(row.name);
    }
    noteNext(previous, "");
    for (const { node } of before.values()) node.remove();
    for (const node of days.values()) node.remove();
  }

  #shownRow(row: Row, former: Shown | undefined): Shown {
    if (former) updateMessage(former.node, former.row, row, this.#actions);
    const day = former?.row.at === row.at ? former.day : dayOf(row.at);
    const shown = { row, node: former?.node ?? messageNode(row, this.#actions), day };
    this.#shown.set(row.name, shown);
    return shown;
  }

  #dayBefore(row: Row, day: number, former: Map<string, HTMLElement>): HTMLElement {
    const node = former.get(row.name) ?? dayNode(day);
    former.delete(row.name);
    this.#days.set(row.name, node);
    return node;
  }

  /** The newest reply shows its thumbs without being asked. */
  #markNewest(reply: Row | undefined): void {
    const node = reply && this.#shown.get(reply.name)?.node;
    if (node === this.#newest) return;
    this.#newest?.removeAttribute("data-newest");
    node?.setAttribute("data-newest", "");
    this.#newest = node;
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
      // The next frame draws it; what comes with the one after that is news again.
      requestAnimationFrame(() => {
        requestAnimationFrame(() => {
          this.node.ariaLive = "polite";
        });
      });
    }
  }
}

/** Lets the style know what comes next: asked by `:has()`, each new message would restyle them all. */
function noteNext(shown: Shown | undefined, next: Row["role"] | "day" | ""): void {
  if (shown && shown.node.dataset.next !== next) shown.node.dataset.next = next;
}

/** Puts a node after another one, unless it is there already. */
function follow(last: Element, node: Element): Element {
  if (last.nextSibling !== node) last.after(node);
  return node;
}
