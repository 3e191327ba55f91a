/** A file of the conversation: its picture where it is one, its name and size, to be saved. */

import { language, texts } from "../texts.ts";
import type { FileInfo } from "../wire.ts";
import { button, element, icon } from "./dom.ts";
import { DOWN, FILE } from "./icons.ts";
import { draw, isPicture } from "./picture.ts";

/** Gives the bytes of a file. */
export type Fetch = (id: string) => Promise<Blob>;

/** How long a browser may take to begin with saving, in milliseconds. */
const SAVING_MS = 60_000;

/** Makes a message show its files; those that it shows already only take over their ids. */
export function showFiles(message: HTMLElement, files: readonly FileInfo[], fetch: Fetch): void {
  const present = message.querySelectorAll<HTMLElement>("[part=file]");
  if (present.length === files.length) {
    for (const [index, { id }] of files.entries()) present[index]?.setAttribute("data-id", id);
    return;
  }
  for (const node of present) node.remove();
  const text = message.querySelector("[part=text]");
  text?.after(...files.map((file) => fileNode(file, fetch)));
}

function fileNode({ id, name, type, size_bytes }: FileInfo, fetch: Fetch): HTMLElement {
  const bytes = () => fetch(node.dataset.id ?? id);
  const { about, note } = describe(name, sizeText(size_bytes));
  const download = button("download", icon(FILE));
  download.append(element("span", { class: "unseen" }, texts.download), about, icon(DOWN));
  download.addEventListener("click", () => {
    note.textContent = sizeText(size_bytes);
    bytes().then(
      (blob) => save(name, blob),
      () => {
        note.textContent = texts.retry;
      },
    );
  });
  const node = element("div", { part: "file", "data-id": id }, download);
  if (isPicture(type)) node.prepend(pictureNode(name, bytes));
  return node;
}

/** In a box whose size is known from the start; drawn once it is looked at. */
function pictureNode(name: string, bytes: () => Promise<Blob>): HTMLElement {
  const canvas = element("canvas", { role: "img", "aria-label": name });
  const observer = new IntersectionObserver(async ([entry]) => {
    if (!entry?.isIntersecting) return;
    try {
      await draw(canvas, await bytes());
      observer.disconnect();
    } catch {
      // The box stays empty; it is tried again when it next comes into view.
    }
  });
  observer.observe(canvas);
  return element("div", { part: "picture" }, canvas);
}

/** The name, and below it a note. */
export function describe(name: string, words: string) {
  const note = element("span", { class: "note" }, words);
  const about = element("span", { class: "about" }, element("bdi", {}, name), note);
  return { about, note };
}

/** A text with the name of a file in it. */
export function named(text: string, name: string): string {
  return text.replace("#", () => name);
}

export function sizeText(bytes: number): string {
  const [size, unit] =
    bytes < 1e6 ? [Math.max(1, bytes / 1e3), "kilobyte"] : [bytes / 1e6, "megabyte"];
  const options = { style: "unit", unit, maximumSignificantDigits: 2 } as const;
  return size.toLocaleString(language, options);
}

function save(name: string, bytes: Blob): void {
  const href = URL.createObjectURL(bytes);
  element("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), SAVING_MS);
}
