/** Where the script line begins: defines the element, puts one on the page, and offers the API. */

import { type Api, makeApi, type Stub, whenBodyIsThere } from "./api.ts";
import { PosternChat } from "./element.ts";
import { define, embed, TAG } from "./embed.ts";

declare global {
  interface Window {
    Postern?: Api | Stub;
  }
}

const script = document.currentScript;
const isFirst = !customElements.get(TAG);
if (isFirst && script instanceof HTMLScriptElement) {
  PosternChat.defaults = { relay: new URL(".", script.src).href, ...script.dataset };
}
define();
whenBodyIsThere(embed);
if (isFirst) offerApi();

/** Takes the place of the page's stub, and makes up for the calls that it collected. */
function offerApi(): void {
  const { q = [] } = (window.Postern ?? {}) as Stub;
  const api = makeApi();
  window.Postern = api;
  for (const call of q) api(...(Array.from(call) as [string]));
}
