/** Shows Markdown. Elements are made one by one, and text goes into text nodes only. */

import { type Block, parseBlocks, type TopBlock } from "../markdown/block.ts";
import { type Inline, parseInline } from "../markdown/inline.ts";
import { codeNode } from "./code.ts";
import { element } from "./dom.ts";

interface Shown extends TopBlock {
  readonly node: Node;
}

/** What was shown in which node, so that a text that grows is not built anew. */
const shownIn = new WeakMap<Node, { readonly text: string; readonly blocks: readonly Shown[] }>();

export function renderMarkdown(text: string): Node[] {
  return parseBlocks(text).map(({ block }) => topNode(block));
}

/**
 * Makes `node` show `text` and nothing else. Where the text begins with what was shown, only blocks
 * that changed are replaced: what the visitor has selected in the others stays selected.
 */
export function showMarkdown(node: Element, text: string): void {
  const before = shownIn.get(node) ?? { text: "", blocks: [] };
  // The lines to come can change the last block, and can undo what had ended the one before it.
  const settled = text.startsWith(before.text) ? before.blocks.slice(0, -2) : [];
  const from = before.blocks[settled.length]?.start ?? 0;
  const offset = settled.length > 0 ? from : 0;

  const fresh = parseBlocks(text.slice(offset)).map((top, index): Shown => {
    const old = before.blocks[settled.length + index];
    const node = old?.source === top.source ? old.node : topNode(top.block);
    return { ...top, start: top.start + offset, node };
  });
  const blocks = [...settled, ...fresh];
  replaceFrom(node, settled.length, blocks);
  shownIn.set(node, { text, blocks });
}

/** Makes the children follow the blocks, and leaves alone those that stand in their place. */
function replaceFrom(parent: Element, first: number, blocks: readonly Shown[]): void {
  for (let index = first; index < blocks.length; index += 1) {
    const node = (blocks[index] as Shown).node;
    const present = parent.childNodes[index];
    if (!present) parent.append(node);
    else if (present !== node) parent.replaceChild(node, present);
  }
  while (parent.childNodes.length > blocks.length) parent.lastChild?.remove();
}

/** Each block has the direction of its first words; within it, all has the same. */
function topNode(block: Block): Node {
  const node = blockNode(block);
  node.setAttribute("dir", "auto");
  return node;
}

function blockNode(block: Block): Element {
  switch (block.kind) {
    case "paragraph":
      return filled("p", block.text);
    case "heading":
      return filled("h3", block.text);
    case "code":
      return codeNode(block.text, block.language);
    case "quote":
      return append(element("blockquote"), block.blocks.map(blockNode));
    case "list":
      return listNode(block.items, block.start);
    case "table":
      return tableNode(block.rows);
    case "rule":
      return element("hr");
  }
}

function listNode(items: readonly Block[][], start: number | undefined): Element {
  const list = start === undefined ? element("ul") : element("ol", { start: String(start) });
  const nodes = items.map((blocks) => append(element("li"), blocks.map(blockNode)));
  return append(list, nodes);
}

function tableNode(rows: readonly (readonly string[])[]): Element {
  const nodes = rows.map((row, index) => {
    const tag = index === 0 ? "th" : "td";
    return append(
      element("tr"),
      row.map((cell) => filled(tag, cell)),
    );
  });
  const table = append(element("table"), nodes);
  return element("div", { part: "table", tabindex: "0" }, table);
}

/** An element with a text in it that may hold emphasis, code and links. */
function filled(tag: "p" | "h3" | "th" | "td", text: string): Element {
  return append(element(tag), parseInline(text).map(inlineNode));
}

function inlineNode(inline: Inline): Node | string {
  if (typeof inline === "string") return inline;
  if (inline.kind === "code") return element("code", {}, inline.text);
  const node = inline.kind === "link" ? linkNode(inline.href) : element(inline.kind);
  return append(node, inline.children.map(inlineNode));
}

/** A page that is opened learns nothing of this one, and search engines give it no credit. */
function linkNode(href: string): Element {
  return element("a", { href, target: "_blank", rel: "noopener noreferrer nofollow" });
}

/** One by one, since there may be more of them than a call takes arguments. */
function append(parent: Element, children: readonly (Node | string)[]): Element {
  for (const child of children) parent.append(child);
  return parent;
}
