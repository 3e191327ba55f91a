/** One message as it is shown. */

import { isDraft } from "../draft.ts";
import type { Row } from "../row.ts";
import { texts } from "../texts.ts";
import { timeOf } from "./days.ts";
import { button, element } from "./dom.ts";
import { type Fetch, showFiles } from "./file.ts";
import { showMarkdown } from "./markdown.ts";
import { type Rate, showRating } from "./rating.ts";

export interface MessageActions {
  retry(name: string): void;
  fetchFile: Fetch;
  /** Absent where nobody is asked for a rating. */
  rate?: Rate;
}

export function messageNode(row: Row, actions: MessageActions): HTMLElement {
  const from = element("span", { class: "unseen" });
  const text = element("div", { part: "text", dir: "auto" });
  const part = row.role === "system" ? "message notice" : "message";
  const data = { "data-role": row.role, "data-time": timeOf(row.at) };
  const node = element("div", { part, ...data }, from, text);
  showFrom(node, row);
  showText(text, row);
  if (row.files) showFiles(node, row.files, actions.fetchFile);
  showState(node, row, actions);
  showRating(node, row, actions.rate);
  return node;
}

/** Touches only what differs, so that nothing is read out again and a selection stays. */
export function updateMessage(
  node: HTMLElement,
  former: Row,
  row: Row,
  actions: MessageActions,
): void {
  const text = node.querySelector("[part=text]");
  if (text && former.text !== row.text) showText(text, row);
  if (former.files !== row.files) showFiles(node, row.files ?? [], actions.fetchFile);
  if (isDraft(former) !== isDraft(row)) showFrom(node, row);
  if (former.delivery !== row.delivery || former.isStopped !== row.isStopped) {
    showState(node, row, actions);
  }
  if (former.rating !== row.rating) showRating(node, row, actions.rate);
}

/** Says whose it is. A draft is read out to nobody; once it is a reply, it is, and as a whole. */
function showFrom(node: HTMLElement, row: Row): void {
  const isGrowing = isDraft(row);
  node.ariaLive = isGrowing ? "off" : null;
  node.ariaBusy = isGrowing ? "true" : null;
  if (isGrowing) node.ariaAtomic = "true";
  const from = node.querySelector(".unseen");
  from?.replaceChildren(isGrowing ? texts.draft : texts[row.role]);
}

/** Shows the text as it is now; where it has only grown, what was there before stays in place. */
function showText(node: Element, { role, text }: Row): void {
  if (role === "agent" || role === "operator") showMarkdown(node, text);
  else node.textContent = text;
}

/** Shows how far the visitor's message has come, or that the visitor stopped the reply. */
function showState(node: HTMLElement, row: Row, { retry }: MessageActions): void {
  const { name, delivery, error, isStopped } = row;
  node.querySelector("[part=state]")?.remove();
  const words = isStopped ? texts.stopped : delivery && texts[delivery];
  if (!words) return;
  node.dataset.state = delivery ?? "stopped";
  const state = element("div", { part: "state" }, words);
  if (delivery === "failed") {
    const again = button("retry", texts.retry);
    again.addEventListener("click", () => retry(name));
    state.append(` ${error?.replace(/\.$/, "")}. `, again);
  }
  node.append(state);
}
