/** The messages, with the days between them. */

import type { Row } from "../row.ts";
import { dayNode, dayOf } from "./days.ts";
import { element } from "./dom.ts";
import { type MessageActions, messageNode, updateMessage } from "./message.ts";

/** A page of the transcript, with some days. */
const BLOCK_SIZE = 60;

interface Shown {
  readonly row: Row;
  readonly node: HTMLElement;
  readonly day: number;
  /** Names the day, where another one begins. */
  heading?: HTMLElement | undefined;
}

export class Rows {
  readonly node = element("div", { class: "rows" });

  #actions: MessageActions;
  #shown: readonly Shown[] = [];
  #newestReply: HTMLElement | undefined;
  /** A block that has been laid out once has a known size, and need not be while out of sight. */
  #sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      target.toggleAttribute("data-known", true);
      this.#sizes.unobserve(target);
    }
  });

  constructor(actions: MessageActions) {
    this.#actions = actions;
  }

  get oldest(): HTMLElement | undefined {
    return this.#shown[0]?.node;
  }

  has({ name }: Row): boolean {
    return this.#shown.some(({ row }) => row.name === name);
  }

  /** Makes the nodes follow the rows; those before the first change are not looked at. */
  show(rows: readonly Row[]): void {
    const former = this.#shown;
    const start = commonStart(former, rows);
    const rest = new Map(former.slice(start).map((shown) => [shown.row.name, shown]));
    const fresh = rows.slice(start).map((row) => this.#take(row, rest));
    for (const { node, heading } of rest.values()) {
      node.remove();
      heading?.remove();
    }

    this.#shown = [...former.slice(0, start), ...fresh];
    this.#place(0);
    for (let index = start; index < rows.length; index++) this.#place(index);
    noteNext(this.#shown.at(-1), "");
    this.#markNewestReply();
  }

  /** Shows the row, in the node that shows it already if there is one. */
  #take(row: Row, former: Map<string, Shown>): Shown {
    const shown = former.get(row.name);
    if (!shown) return { row, node: messageNode(row, this.#actions), day: dayOf(row.at) };
    former.delete(row.name);
    if (shown.row === row) return shown;
    updateMessage(shown.node, shown.row, row, this.#actions);
    return { ...shown, row, day: shown.row.at === row.at ? shown.day : dayOf(row.at) };
  }

  /** Puts a message behind the one before it, with the name of its day between them if need be. */
  #place(index: number): void {
    const shown = this.#shown[index];
    if (!shown) return;
    const { row, node, day } = shown;
    const previous = this.#shown[index - 1];
    const isNewDay = day !== (previous?.day ?? dayOf(Date.now()));
    if (!isNewDay) shown.heading?.remove();
    shown.heading = isNewDay ? (shown.heading ?? dayNode(day)) : undefined;
    const first = shown.heading ?? node;
    if (!first.parentNode || before(first) !== previous?.node) this.#insert(first, previous?.node);
    if (first !== node && first.nextSibling !== node) first.after(node);
    noteNext(previous, isNewDay ? "day" : row.role);
  }

  /** Puts a node behind another one, or in front; where the block is full, into one of its own. */
  #insert(node: HTMLElement, previous: HTMLElement | undefined): void {
    const block = previous?.parentElement;
    if (previous?.nextSibling || (block && block.childElementCount < BLOCK_SIZE)) {
      previous.after(node);
      return;
    }
    const next = element("div", { class: "block" }, node);
    this.#sizes.observe(next);
    if (block) block.after(next);
    else this.node.prepend(next);
  }

  /** It shows its thumbs without being asked. */
  #markNewestReply(): void {
    const node = this.#shown.findLast(({ row }) => row.role === "agent")?.node;
    if (node === this.#newestReply) return;
    this.#newestReply?.removeAttribute("data-newest");
    node?.setAttribute("data-newest", "");
    this.#newestReply = node;
  }
}

function before(node: HTMLElement): Element | undefined {
  const block = node.parentElement;
  return (
    node.previousElementSibling ?? block?.previousElementSibling?.lastElementChild ?? undefined
  );
}

/** Lets the style know what comes next: asked by `:has()`, each new message would restyle them all. */
function noteNext(shown: Shown | undefined, next: Row["role"] | "day" | ""): void {
  if (shown && shown.node.dataset.next !== next) shown.node.dataset.next = next;
}

/** How many rows at the start are shown already. */
function commonStart(shown: readonly Shown[], rows: readonly Row[]): number {
  let count = 0;
  while (count < rows.length && shown[count]?.row === rows[count]) count++;
  return count;
}
