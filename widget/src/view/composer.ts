/** Where the visitor writes. */

import type { Activity } from "../activity.ts";
import type { Attachment } from "../attachments.ts";
import { texts } from "../texts.ts";
import { AttachmentsView, attachAll, type FileActions } from "./attachments.ts";
import { button, element, icon } from "./dom.ts";
import { SEND, STOP } from "./icons.ts";

export interface ComposerActions {
  /** Sends what is written, with what is attached. */
  submit(text: string): void;
  /** Stops the reply that is awaited. */
  stop(): void;
  /** Absent where no files are taken. */
  readonly files?: FileActions;
}

export class Composer {
  readonly node: HTMLFormElement;

  #actions: ComposerActions;
  #input: HTMLTextAreaElement;
  /** Holds a copy of the text, unseen, so that the field grows with it by style alone. */
  #grower: HTMLElement;
  /** Sends what is written; while nothing is and a reply is awaited, stops the reply. */
  #button: HTMLButtonElement;
  #activity: Activity | undefined;
  #attachments: AttachmentsView | undefined;

  constructor(actions: ComposerActions) {
    this.#actions = actions;
    this.#input = element("textarea", {
      part: "input",
      rows: "1",
      placeholder: texts.placeholder,
      "aria-label": texts.placeholder,
      "aria-describedby": "away",
      autocomplete: "off",
      enterkeyhint: "send",
      dir: "auto",
    });
    this.#grower = element("div", { class: "grower" }, this.#input);
    this.#button = button("send", icon(SEND));
    this.#button.append(icon(STOP));
    this.node = element("form", { part: "composer" }, this.#grower, this.#button);
    if (actions.files) this.#takeFiles(actions.files);

    this.#input.addEventListener("input", () => this.#refresh());
    this.#input.addEventListener("keydown", (event) => this.#onKey(event));
    this.#button.addEventListener("click", ({ detail }) => this.#press(detail));
    this.#refresh();
  }

  /** What is written and not sent. */
  get typed(): string {
    return this.#input.value;
  }

  set typed(text: string) {
    this.#input.value = text;
    this.#refresh();
  }

  focus(): void {
    this.#input.focus({ preventScroll: true });
  }

  show(activity: Activity, attachments: readonly Attachment[]): void {
    this.#activity = activity;
    this.#attachments?.show(attachments);
    this.#refresh();
  }

  get #text(): string {
    return this.#input.value.trim();
  }

  get #isEmpty(): boolean {
    return this.#text === "" && !this.#attachments?.hasGood;
  }

  get #offersStop(): boolean {
    return this.#isEmpty && this.#activity?.awaited !== undefined;
  }

  #takeFiles(actions: FileActions): void {
    const view = new AttachmentsView(actions);
    this.#attachments = view;
    this.node.prepend(view.news, view.node, view.button);
    this.#input.addEventListener("paste", (event) => {
      const { files, types } = event.clipboardData as DataTransfer;
      // A text that was copied with its looks may come with a picture of them.
      if (files.length === 0 || types.includes("text/plain")) return;
      event.preventDefault();
      attachAll(files, actions);
    });
  }

  #onKey(event: KeyboardEvent): void {
    // While an input method composes, Enter chooses a candidate; Safari tells it by 229 alone.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229)
      return;
    event.preventDefault();
    this.#submit();
  }

  #press(clicks: number): void {
    if (!this.#offersStop) this.#submit();
    // The second click of a double one was meant for sending.
    else if (clicks < 2) this.#actions.stop();
  }

  #submit(): void {
    const text = this.#text;
    if (this.#isEmpty) return;
    this.#input.value = "";
    this.#refresh();
    this.#input.focus();
    this.#actions.submit(text);
  }

  #refresh(): void {
    this.#grower.dataset.text = this.#input.value;
    const action = this.#offersStop ? "stop" : "send";
    const isBusy = this.#activity?.phase === "stopping";
    const isDisabled = this.#offersStop ? isBusy : this.#isEmpty;
    this.#button.setAttribute("part", action);
    this.#button.setAttribute("aria-label", texts[action]);
    this.#button.setAttribute("aria-disabled", String(isDisabled));
  }
}
