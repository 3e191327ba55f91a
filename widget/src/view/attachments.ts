/** What is attached to the message that is being written, each file a chip; and the ways to attach. */

import { type Attachment, isGood } from "../attachments.ts";
import { texts } from "../texts.ts";
import { button, element, icon } from "./dom.ts";
import { describe, named, sizeText } from "./file.ts";
import { ATTACH, CLOSE, FILE } from "./icons.ts";
import { draw, isPicture } from "./picture.ts";

export interface FileActions {
  attach(file: File): void;
  detach(key: string): void;
}

interface Chip {
  readonly node: HTMLElement;
  show(attachment: Attachment): void;
}

export class AttachmentsView {
  readonly node = element("div", { part: "attachments" });
  readonly button = button("attach", icon(ATTACH), texts.attach);
  /** Says what has become of a file to those who do not see it. */
  readonly news = element("div", { class: "unseen", "aria-live": "polite" });
  /** Whether there is something to be sent. */
  hasGood = false;

  #actions: FileActions;
  #chips = new Map<string, Chip>();

  constructor(actions: FileActions) {
    this.#actions = actions;
    const input = element("input", { type: "file", multiple: "" });
    input.addEventListener("change", () => {
      attachAll(input.files, actions);
      // The same file can be chosen once more.
      input.value = "";
    });
    this.button.addEventListener("click", () => input.click());
  }

  show(attachments: readonly Attachment[]): void {
    const former = this.#chips;
    this.#chips = new Map();
    for (const attachment of attachments) {
      const { key } = attachment;
      const chip = former.get(key) ?? this.#newChip(attachment);
      chip.show(attachment);
      this.#chips.set(key, chip);
      former.delete(key);
    }
    for (const { node } of former.values()) node.remove();
    if (attachments.length === 0) this.news.replaceChildren();
    this.hasGood = attachments.some(isGood);
  }

  #newChip({ key, file }: Attachment): Chip {
    const { name } = file;
    const { about, note } = describe(name, sizeText(file.size));
    const bar = element("div", { role: "progressbar", "aria-label": name });
    const again = this.#closer(key, button("retry", texts.retry));
    again.addEventListener("click", () => this.#actions.attach(file));
    const remove = this.#closer(key, button("remove", icon(CLOSE), named(texts.remove, name)));
    const node = element("div", { part: "attachment" }, thumbNode(file), about, again, remove, bar);
    this.node.append(node);
    this.node.scrollTop = this.node.scrollHeight;
    let told: string | undefined;
    const show = ({ id, error, progress, isRetrying }: Attachment) => {
      const trouble = error ?? (isRetrying && texts.retrying);
      note.textContent = trouble || sizeText(file.size);
      node.dataset.state = error && "failed";
      again.hidden = !error;
      bar.hidden = Boolean(id ?? error);
      bar.ariaValueNow = String(Math.round(progress * 100));
      bar.style.width = `${bar.ariaValueNow}%`;
      const news = error ? `${name}: ${error}` : id && named(texts.attached, name);
      if (news && news !== told) this.news.append(element("div", {}, news));
      told = news;
    };
    return { node, show };
  }

  /** A button that goes away with its chip leaves the focus to the one that attaches. */
  #closer(key: string, node: HTMLElement): HTMLElement {
    node.addEventListener("click", () => {
      this.button.focus({ preventScroll: true });
      this.#actions.detach(key);
    });
    return node;
  }
}

export function attachAll(files: Iterable<File> | null | undefined, actions: FileActions): void {
  for (const file of files ?? []) actions.attach(file);
}

function thumbNode(file: File): Element {
  if (!isPicture(file.type)) return icon(FILE);
  const canvas = element("canvas", { "aria-hidden": "true" });
  // What cannot be drawn is sent all the same, or refused by the relay.
  draw(canvas, file).catch(() => canvas.replaceWith(icon(FILE)));
  return canvas;
}

/** Takes files that are dropped on the panel, and says so while they are held over it. */
export function takeDrops(panel: HTMLElement, actions: FileActions): void {
  for (const type of ["dragover", "dragleave", "drop"] as const) {
    panel.addEventListener(type, (event) => {
      const { dataTransfer, relatedTarget } = event;
      if (!dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      const isOver = type !== "drop" && panel.contains(relatedTarget as Node | null);
      panel.dataset.drop = type === "dragover" || isOver ? texts.attach : "";
      if (type === "drop") attachAll(dataTransfer.files, actions);
    });
  }
}
