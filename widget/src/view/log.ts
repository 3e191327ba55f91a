/** The list of what was said. */

import type { Conversation } from "../conversation.ts";
import { isDraft } from "../draft.ts";
import { texts } from "../texts.ts";
import { button, element, icon } from "./dom.ts";
import { DOWN } from "./icons.ts";
import type { MessageActions } from "./message.ts";
import { QuickReplies } from "./quick-replies.ts";
import { Rows } from "./rows.ts";
import { Waiting } from "./waiting.ts";

/** Whoever scrolls up this near to the start, in pixels, is shown what was before. */
const START_TOLERANCE = 200;
/** Whoever scrolls down this near to the end, in pixels, is taken along as it moves. */
const END_TOLERANCE = 64;

export interface LogActions extends MessageActions {
  send(text: string): void;
  loadEarlier(): Promise<void>;
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
  #rows: Rows;
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
    this.#rows = new Rows(this.#actions);
    this.#quickReplies = new QuickReplies(this.#actions.send);
    this.#earlier = button("earlier", texts.earlier);
    this.#earlier.addEventListener("click", () => {
      this.node.focus({ preventScroll: true });
      this.#loadEarlier();
    });
    this.#greeting = element("div", { part: "greeting", dir: "auto" }, texts.greeting);
    this.node = element("div", {
      part: "log",
      role: "log",
      "aria-live": "polite",
      "aria-label": texts.log,
      tabindex: "0",
    });
    this.node.append(
      this.#earlier,
      this.#greeting,
      this.#rows.node,
      this.#waiting.node,
      this.#quickReplies.node,
    );
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
    const newest = rows.at(-1);
    const hasOwnNews = newest?.delivery === "sending" && !this.#rows.has(newest);

    const oldest = this.#rows.oldest;
    const top = topOf(oldest);
    this.#earlier.hidden = !hasEarlier;
    this.#greeting.hidden = hasEarlier;
    this.#waiting.show(activity, rows.some(isDraft));
    this.#rows.show(rows);
    this.#quickReplies.show(conversation);

    if (this.#isAtEnd || hasOwnNews) this.scrollToEnd();
    else if (oldest?.isConnected) this.node.scrollTop += topOf(oldest) - top;
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
    const isUpwards = scrollTop < this.#scrollTop;
    const tolerance = isUpwards ? 1 : END_TOLERANCE;
    this.#isAtEnd = scrollHeight - scrollTop - clientHeight <= tolerance;
    this.#scrollTop = scrollTop;
    this.latest.hidden = this.#isAtEnd;
    if (isUpwards && scrollTop < START_TOLERANCE) this.#loadEarlier();
  }

  async #loadEarlier(): Promise<void> {
    if (this.#earlier.hidden || this.#earlier.disabled) return;
    this.#earlier.disabled = true;
    // What is old is shown, but not read out.
    this.node.ariaLive = "off";
    try {
      await this.#actions.loadEarlier();
    } catch {
      // The button stays; pressing it, or scrolling, is the retry.
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

function topOf(node: HTMLElement | undefined): number {
  return node?.getBoundingClientRect().top ?? 0;
}
