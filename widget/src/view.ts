/** What the visitor sees: the bubble and the panel; it shows state and passes on wishes. */

import type { Attachment } from "./attachments.ts";
import type { Conversation } from "./conversation.ts";
import type { Mode, Options } from "./options.ts";
import { texts } from "./texts.ts";
import { takeDrops } from "./view/attachments.ts";
import { Bubble } from "./view/bubble.ts";
import { Composer, type ComposerActions } from "./view/composer.ts";
import { button, element, icon } from "./view/dom.ts";
import { CLOSE } from "./view/icons.ts";
import { followKeyboard } from "./view/keyboard.ts";
import { Log, type LogActions } from "./view/log.ts";
import { Starters } from "./view/starters.ts";

export interface Actions extends LogActions, ComposerActions {
  opened(): void;
  closed(): void;
}

/** What the visitor is at. */
export interface ViewState {
  readonly isOpen: boolean;
  /** What is written and not sent. */
  readonly typed: string;
}

export class View {
  #mode: Mode;
  #bubble: Bubble;
  #panel: HTMLElement;
  #log: Log;
  #away: HTMLElement;
  #starters: Starters;
  #composer: Composer;
  #actions: Actions;

  /** Until the signal aborts, it follows the size of the screen. */
  constructor(options: Options, actions: Actions, signal: AbortSignal) {
    this.#mode = options.mode;
    this.#actions = actions;
    this.#bubble = new Bubble(() => this.open());
    this.#log = new Log(actions);
    this.#starters = new Starters(options.starters, (text) => {
      this.#composer.focus();
      actions.send(text);
    });
    this.#away = element("div", { part: "away", id: "away", role: "status" });
    this.#composer = new Composer(actions);
    this.#panel = element(
      "section",
      { part: "panel", role: this.#isPopup ? "dialog" : "region", "aria-labelledby": "title" },
      this.#header(),
      this.#log.node,
      this.#log.latest,
      this.#starters.node,
      this.#away,
      this.#composer.node,
    );
    for (const type of ["keydown", "keypress", "keyup"] as const) {
      this.#panel.addEventListener(type, (event) => this.#onKey(event));
    }

    for (const node of this.nodes) {
      node.dataset.position = options.position;
      node.dataset.mode = options.mode;
      node.lang = options.language;
      node.dir = options.direction;
    }
    if (actions.files) takeDrops(this.#panel, actions.files);
    followKeyboard(this.#panel, signal);
    this.#setOpen(!this.#isPopup);
  }

  /** The top nodes, for the shadow root. */
  get nodes(): readonly HTMLElement[] {
    return this.#isPopup ? [this.#bubble.node, this.#panel] : [this.#panel];
  }

  get isOpen(): boolean {
    return this.#panel.dataset.open === "true";
  }

  get state(): ViewState {
    return { isOpen: this.isOpen, typed: this.#composer.typed };
  }

  /** Goes on where another view has ended. */
  resume({ isOpen, typed }: ViewState): void {
    this.#composer.typed = typed;
    this.#setOpen(isOpen || !this.#isPopup);
    if (isOpen) this.#log.scrollToEnd();
  }

  open(): void {
    if (this.isOpen) return;
    this.#setOpen(true);
    this.#log.scrollToEnd();
    this.#composer.focus();
    this.#actions.opened();
  }

  close(): void {
    if (!this.isOpen || !this.#isPopup) return;
    this.#setOpen(false);
    this.#bubble.focus();
    this.#actions.closed();
  }

  show(conversation: Conversation, attachments: readonly Attachment[]): void {
    const { unread, activity, delay } = conversation;
    this.#bubble.unread = unread;
    this.#log.show(conversation);
    this.#starters.node.hidden = conversation.rows.length > 0;
    this.#composer.show(activity, attachments);
    const later = delay?.type === "budget_spent" ? delay.message : delay && texts.retrying;
    const notice = activity.isHostAway ? texts.away : (later ?? "");
    if (this.#away.textContent !== notice) this.#away.textContent = notice;
  }

  get #isPopup(): boolean {
    return this.#mode === "popup";
  }

  #header(): HTMLElement {
    const heading = element("h2", { part: "title", id: "title", dir: "auto" }, texts.title);
    const close = button("close", icon(CLOSE), texts.close);
    close.addEventListener("click", () => this.close());
    close.hidden = !this.#isPopup;
    return element("header", { part: "header" }, heading, close);
  }

  #setOpen(isOpen: boolean): void {
    this.#panel.dataset.open = String(isOpen);
    this.#bubble.isOpen = isOpen;
  }

  #onKey(event: KeyboardEvent): void {
    // What is typed here must not work the page's own shortcuts.
    event.stopPropagation();
    if (event.type === "keydown" && event.key === "Escape" && !event.isComposing) this.close();
  }
}
