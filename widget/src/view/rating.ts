/** Thumbs up and thumbs down below a reply; the one that is pressed is taken back by another press. */

import type { Row } from "../row.ts";
import { texts } from "../texts.ts";
import type { Rating } from "../wire.ts";
import { timeOf } from "./days.ts";
import { button, element, icon } from "./dom.ts";
import { THUMB } from "./icons.ts";

export type Rate = (id: number, rating: Rating | null) => void;

/** Shows what the visitor thinks of a reply; `rate` is absent where nobody is asked. */
export function showRating(message: HTMLElement, row: Row, rate: Rate | undefined): void {
  const { id, rating, at } = row;
  const former = message.querySelector("[part=rating]");
  if (!rate || id === undefined || rating === undefined) {
    former?.remove();
    return;
  }
  const node = former ?? message.appendChild(ratingNode(id, at, rate));
  const [up, down] = node.children;
  up?.setAttribute("aria-pressed", String(rating === "up"));
  down?.setAttribute("aria-pressed", String(rating === "down"));
}

/** The time stands before the thumbs. With a reply that is read out, they are not. */
function ratingNode(id: number, at: string, rate: Rate): HTMLElement {
  const attributes = { part: "rating", "data-time": timeOf(at), "aria-live": "off" };
  return element("div", attributes, thumb("up"), thumb("down"));

  function thumb(rating: Rating): HTMLElement {
    const node = button("thumb", icon(THUMB), texts[rating]);
    node.addEventListener("click", () => rate(id, node.ariaPressed === "true" ? null : rating));
    return node;
  }
}
