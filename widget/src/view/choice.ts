/** A text that the visitor can send by a press. */

import { button } from "./dom.ts";

export function choice(part: string, text: string, send: (text: string) => void): HTMLElement {
  const node = button(part, text);
  node.dir = "auto";
  node.addEventListener("click", () => send(text));
  return node;
}
