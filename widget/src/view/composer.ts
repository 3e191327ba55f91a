/** Where the visitor writes. */

import { texts } from "../texts.ts";
import { button, element, icon } from "./dom.ts";
import { SEND } from "./icons.ts";

export class Composer {
  readonly node: HTMLFormElement;

  #input: HTMLTextAreaElement;
  /** Holds a copy of the text, unseen, so that the field grows with it by style alone. */
  #grower: HTMLElement;
  #send: HTMLButtonElement;
  #onSend: (text: string) => void;

  constructor(placeholder: string, onSend: (text: string) => void) {
    this.#onSend = onSend;
    this.#input = element("textarea", {
      part: "input",
      rows: "1",
      placeholder,
      "aria-label": placeholder,
      autocomplete: "off",
      enterkeyhint: "send",
      dir: "auto",
    });
    this.#grower = element("div", { class: "grower" }, this.#input);
    this.#send = button("send", icon(SEND), texts.send);
    this.#send.type = "submit";
    this.node = element("form", { part: "composer" }, this.#grower, this.#send);

    this.#input.addEventListener("input", () => this.#refresh());
    this.#input.addEventListener("keydown", (event) => this.#onKey(event));
    this.node.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#refresh();
  }

  focus(): void {
    this.#input.focus({ preventScroll: true });
  }

  #onKey(event: KeyboardEvent): void {
    // While an input method composes, Enter chooses a candidate; Safari tells it by 229 alone.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229)
      return;
    event.preventDefault();
    this.#submit();
  }

  #submit(): void {
    const text = this.#input.value.trim();
    if (text === "") return;
    this.#input.value = "";
    this.#refresh();
    this.#input.focus();
    this.#onSend(text);
  }

  #refresh(): void {
    const { value } = this.#input;
    this.#grower.dataset.text = value;
    this.#send.setAttribute("aria-disabled", String(value.trim() === ""));
  }
}
