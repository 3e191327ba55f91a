/** The ES module: for pages that bundle, and place the element, by themselves. */

import { makeApi } from "./api.ts";
import { PosternChat } from "./element.ts";
import { define, embed as put } from "./embed.ts";
import type { Settings } from "./options.ts";

define();

/** Puts the element on the page, unless there is one, and gives it these settings. */
export function embed(settings: Settings): PosternChat {
  const { defaults } = PosternChat;
  PosternChat.defaults = { ...defaults, ...settings };
  return put();
}

export const Postern = makeApi();
export type { Settings };
export { PosternChat };
