/** Where the script line begins: defines the element and puts one on the page. */

import { PosternChat } from "./element.ts";

const TAG = "postern-chat";

const script = document.currentScript;
if (!customElements.get(TAG)) customElements.define(TAG, PosternChat);
if (script instanceof HTMLScriptElement) whenBodyIsThere(() => embed(script));

/** A page that was given the line twice, or has an element of its own, keeps the one it has. */
function embed(script: HTMLScriptElement): void {
  if (document.querySelector(TAG)) return;
  const element = document.createElement(TAG);
  Object.assign(element.dataset, script.dataset);
  element.dataset.relay ??= new URL(".", script.src).href;
  document.body.append(element);
}

function whenBodyIsThere(then: () => void): void {
  if (document.readyState !== "loading") then();
  else document.addEventListener("DOMContentLoaded", then, { once: true });
}
