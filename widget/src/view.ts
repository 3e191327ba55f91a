/** What the visitor sees: the bubble and the panel; it shows state and passes on wishes. */

import type { Conversation } from "./conversation.ts";
import type { Options } from "./options.ts";
import { counted, texts } from "./texts.ts";
import { Composer, type ComposerActions } from "./view/composer.ts";
import { button, element, icon } from "./view/dom.ts";
import { CHAT, CLOSE } from "./view/icons.ts";
import { Log, type LogActions } from "./view/log.ts";

export interface Actions extends LogActions, ComposerActions {
  opened(): void;
}

export class View {
  #bubble: HTMLButtonElement;
  #panel: HTMLElement;
  #log: Log;
  #away: HTMLElement;
  #composer: Composer;
  #actions: Actions;

  constructor(options: Options, actions: Actions) {
    this.#actions = actions;
    this.#bubble = button("bubble", icon(CHAT), texts.open);
    this.#bubble.setAttribute("aria-haspopup", "dialog");
    this.#bubble.addEventListener("click", () => this.open());

    const title = element("h2", { part: "title", id: "title", dir: "auto" }, options.title);
    const close = button("close", icon(CLOSE), texts.close);
    close.addEventListener("click", () => this.close());
    const header = element("header", { part: "header" }, title, close);
    this.#log = new Log(options.greeting, actions);
    this.#away = element("div", { part: "away", id: "away", role: "status" });
    this.#composer = new Composer(options.placeholder, actions);
    this.#panel = element(
      "section",
      { part: "panel", role: "dialog", "aria-labelledby": "title" },
      header,
      this.#log.node,
      this.#away,
      this.#composer.node,
    );
    for (const type of ["keydown", "keypress", "keyup"] as const) {
      this.#panel.addEventListener(type, (event) => this.#onKey(event));
    }

    for (const node of this.nodes) {
      node.dataset.position = options.position;
      node.lang = options.language;
      node.dir = options.direction;
    }
    this.#setOpen(false);
  }

  /** The top nodes, for the shadow root. */
  get nodes(): readonly HTMLElement[] {
    return [this.#bubble, this.#panel];
  }

  get isOpen(): boolean {
    return this.#panel.dataset.open === "true";
  }

  open(): void {
    if (this.isOpen) return;
    this.#setOpen(true);
    this.#log.scrollToEnd();
    this.#composer.focus();
    this.#actions.opened();
  }

  close(): void {
    if (!this.isOpen) return;
    this.#setOpen(false);
    this.#bubble.focus({ preventScroll: true });
  }

  show(conversation: Conversation): void {
    const { unread, activity } = conversation;
    this.#bubble.dataset.unread = String(unread);
    this.#bubble.setAttribute(
      "aria-label",
      unread > 0 ? counted(texts.openUnread, unread) : texts.open,
    );
    this.#log.show(conversation);
    this.#composer.show(activity);
    const away = activity.isHostAway ? texts.away : "";
    if (this.#away.textContent !== away) this.#away.textContent = away;
  }

  #setOpen(isOpen: boolean): void {
    for (const node of this.nodes) node.dataset.open = String(isOpen);
    this.#bubble.setAttribute("aria-expanded", String(isOpen));
  }

  #onKey(event: KeyboardEvent): void {
    // What is typed here must not work the page's own shortcuts.
    event.stopPropagation();
    if (event.type === "keydown" && event.key === "Escape" && !event.isComposing) this.close();
  }
}
