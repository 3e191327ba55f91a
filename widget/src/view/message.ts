/** One message as it is shown. */

import type { Row } from "../conversation.ts";
import { texts } from "../texts.ts";
import { button, element } from "./dom.ts";

type Retry = (name: string) => void;

export function messageNode(row: Row, retry: Retry): HTMLElement {
  const from = element("span", { class: "unseen" }, texts.from[row.role]);
  const text = element("div", { part: "text", dir: "auto" }, row.text);
  const part = row.role === "system" ? "message notice" : "message";
  const node = element("div", { part, "data-role": row.role }, from, text);
  showDelivery(node, row, retry);
  return node;
}

/** Shows how far the message has come, and touches nothing else: it is not to be read out again. */
export function showDelivery(node: HTMLElement, row: Row, retry: Retry): void {
  const { name, delivery, error } = row;
  node.querySelector("[part=state]")?.remove();
  if (!delivery) return;
  node.dataset.state = delivery;
  const state = element("div", { part: "state" }, texts.delivery[delivery]);
  if (delivery === "failed") {
    const again = button("retry", texts.retry);
    again.addEventListener("click", () => retry(name));
    state.append(` ${error?.replace(/\.$/, "")}. `, again);
  }
  node.append(state);
}
