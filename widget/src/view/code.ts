/** A block of code, with a button that copies it. */

import { texts } from "../texts.ts";
import { button, element } from "./dom.ts";

const FEEDBACK_MS = 2_000;

export function codeNode(text: string, language: string): Element {
  const code = element("code", {}, text);
  const copy = button("copy", texts.copy);
  copy.addEventListener("click", async () => {
    if (!(await copyText(text, code))) return;
    copy.textContent = texts.copied;
    setTimeout(() => copy.replaceChildren(texts.copy), FEEDBACK_MS);
  });
  const head = element("div", { part: "code-head" }, element("span", {}, language), copy);
  const block = element("pre", { tabindex: "0", dir: "ltr" }, code);
  return element("div", { part: "code" }, head, block);
}

/** Where the page may not write to the clipboard, the code is at least selected. */
async function copyText(text: string, code: Node): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection()?.selectAllChildren(code);
    return document.execCommand("copy");
  }
}
