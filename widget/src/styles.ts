/** The style sheets, constructed so that a page's Content-Security-Policy needs no exception. */

import markdown from "./markdown.css";
import modes from "./modes.css";
import base from "./styles.css";

/** Shared by all elements of the page. */
export const sheet = new CSSStyleSheet();
sheet.replaceSync(base + markdown + modes);

/** The accent as `data-accent` asks; a rule of the page for the element overrides it. */
export function accentSheet(color: string): CSSStyleSheet {
  const own = new CSSStyleSheet();
  own.replaceSync(":host{}");
  const rule = own.cssRules[0] as CSSStyleRule;
  rule.style.setProperty("--postern-accent", color);
  return own;
}
