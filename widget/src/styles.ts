/** The style sheets, constructed so that a page's Content-Security-Policy needs no exception. */

import buttons from "./buttons.css";
import files from "./files.css";
import markdown from "./markdown.css";
import modes from "./modes.css";
import type { Options } from "./options.ts";
import base from "./styles.css";

/** Shared by all elements of the page. */
export const sheet = new CSSStyleSheet();
sheet.replaceSync(base + markdown + buttons + files + modes);

/** What the page's settings ask for; a rule of the page for the element overrides it. */
export function ownSheet({ accent, theme }: Options): CSSStyleSheet {
  const own = new CSSStyleSheet();
  own.replaceSync(":host{}");
  const { style } = own.cssRules[0] as CSSStyleRule;
  if (accent) style.setProperty("--postern-accent", accent);
  if (theme) style.colorScheme = theme;
  return own;
}
