/** Puts an element on the page, and keeps it there while a page script swaps what is around it. */

import { PosternChat } from "./element.ts";

export const TAG = "postern-chat";

export function define(): void {
  if (!customElements.get(TAG)) customElements.define(TAG, PosternChat);
}

/** The page's element; one that has an element already keeps that. */
export function embed(): PosternChat {
  const present = pageElement();
  if (present) return present;
  const element = document.createElement(TAG) as PosternChat;
  document.body.append(element);
  follow(element);
  return element;
}

export function pageElement(): PosternChat | null {
  return document.querySelector<PosternChat>(TAG);
}

/** An element that goes away together with other things was swapped; alone, it was removed. */
function follow(element: PosternChat): void {
  const observer = new MutationObserver((records) => {
    const removed = records.flatMap((record) => [...record.removedNodes]);
    const isSwap = !element.isDestroyed && removed.some((node) => node !== element);
    if (element.isConnected || isSwap) watch();
    else observer.disconnect();
  });
  const watch = () => {
    if (!element.isConnected && !pageElement()) document.body.append(element);
    for (const node of [document.documentElement, document.body]) {
      observer.observe(node, { childList: true });
    }
  };
  watch();
}
