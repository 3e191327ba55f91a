/** Markdown by blocks. What the last lines of a text are to become changes no block before them. */

export type Block =
  | { readonly kind: "paragraph" | "heading"; readonly text: string }
  | { readonly kind: "code"; readonly language: string; readonly text: string }
  | { readonly kind: "quote"; readonly blocks: readonly Block[] }
  | { readonly kind: "list"; readonly start?: number; readonly items: readonly Block[][] }
  | { readonly kind: "table"; readonly rows: readonly (readonly string[])[] }
  | { readonly kind: "rule" };

/** A block of the text itself, not within another one. */
export interface TopBlock {
  readonly block: Block;
  /** Where it begins in the text. */
  readonly start: number;
  /** The lines it was read from; the same lines make the same block. */
  readonly source: string;
}

/** What is nested deeper is shown as it was written. */
const MAX_DEPTH = 12;

const FENCE = /^\s*(`{3,}|~{3,})\s*([^`]*)$/;
const HEADING = /^\s*#{1,6}(?:\s+|$)/;
const QUOTE = /^\s*> ?/;
const MARKER = /^([ \t]*)([-*+]|\d{1,9}[.)])(?:[ \t]+|$)/;
/** A list in the middle of a paragraph; any other number may be one that ended up at a line's start. */
const INTERRUPTING = /^\s*(?:[-*+]|1[.)])\s+\S/;

export function parseBlocks(text: string): TopBlock[] {
  const lines = text.split("\n");
  const parser = new BlockParser(lines, 0);
  const blocks: TopBlock[] = [];
  let start = 0;
  let line = 0;
  for (;;) {
    for (const blank of lines.slice(line, parser.skipBlank())) start += blank.length + 1;
    line = parser.at;
    const block = parser.next();
    if (!block) return blocks;
    const source = lines.slice(line, parser.at).join("\n");
    blocks.push({ block, start, source });
    start += source.length + 1;
    line = parser.at;
  }
}

class BlockParser {
  /** The line that is next. */
  at = 0;
  #lines: readonly string[];
  #depth: number;

  constructor(lines: readonly string[], depth: number) {
    this.#lines = lines;
    this.#depth = depth;
  }

  skipBlank(): number {
    while (this.at < this.#lines.length && isBlank(this.#line)) this.at += 1;
    return this.at;
  }

  next(): Block | undefined {
    if (this.skipBlank() === this.#lines.length) return;
    const line = this.#line;
    if (this.#depth > MAX_DEPTH) return { kind: "paragraph", text: this.#rest() };
    if (FENCE.test(line)) return this.#code();
    if (HEADING.test(line)) return this.#heading();
    if (QUOTE.test(line)) return this.#quote();
    if (isRule(line)) return this.#rule();
    if (MARKER.test(line)) return this.#list();
    if (this.#startsTable()) return this.#table();
    return this.#paragraph();
  }

  get #line(): string {
    return this.#lines[this.at] ?? "";
  }

  #all(): Block[] {
    const blocks: Block[] = [];
    for (let block = this.next(); block; block = this.next()) blocks.push(block);
    return blocks;
  }

  #within(lines: readonly string[]): Block[] {
    return new BlockParser(lines, this.#depth + 1).#all();
  }

  #rest(): string {
    const text = this.#lines.slice(this.at).join("\n").trimEnd();
    this.at = this.#lines.length;
    return text;
  }

  #takeWhile(belongs: () => boolean): string[] {
    const start = this.at;
    while (this.at < this.#lines.length && belongs()) this.at += 1;
    return this.#lines.slice(start, this.at);
  }

  /** Without a closing fence, all that follows is code: the rest of it may still be on its way. */
  #code(): Block {
    const [, fence = "", info = ""] = FENCE.exec(this.#line) ?? [];
    const indent = indentOf(this.#line);
    this.at += 1;
    const end = new RegExp(`^\\s*${fence[0]}{${fence.length},}\\s*$`);
    const lines = this.#takeWhile(() => !end.test(this.#line));
    this.at = Math.min(this.at + 1, this.#lines.length);
    const text = lines.map((line) => strip(line, indent)).join("\n");
    return { kind: "code", language: info.trim().split(/\s/, 1)[0] ?? "", text };
  }

  #heading(): Block {
    const text = this.#line.replace(HEADING, "").trim();
    this.at += 1;
    return { kind: "heading", text };
  }

  #rule(): Block {
    this.at += 1;
    return { kind: "rule" };
  }

  #quote(): Block {
    const lines = this.#takeWhile(() => QUOTE.test(this.#line));
    return { kind: "quote", blocks: this.#within(lines.map((line) => line.replace(QUOTE, ""))) };
  }

  #list(): Block {
    const [, , bullet = ""] = MARKER.exec(this.#line) ?? [];
    const items: Block[][] = [];
    while (this.at < this.#lines.length && !isRule(this.#line)) {
      const marker = MARKER.exec(this.#line);
      if (marker?.[2]?.slice(-1) !== bullet.slice(-1)) break;
      items.push(this.#within(this.#item(marker)));
    }
    const start = Number.parseInt(bullet, 10);
    return start >= 0 ? { kind: "list", start, items } : { kind: "list", items };
  }

  /** The lines of one item: indented as its text is, or going on with its paragraph. */
  #item(marker: RegExpExecArray): string[] {
    const width = marker[0].length;
    const least = Math.min(width, indentOf(marker[0]) + 2);
    const lines = [this.#line.slice(width)];
    this.at += 1;
    const more = this.#takeWhile(() => {
      if (isBlank(this.#line) || indentOf(this.#line) >= least) return true;
      return !isBlank(this.#lines[this.at - 1] ?? "") && !this.#startsBlock();
    });
    return [...lines, ...more.map((line) => strip(line, width))];
  }

  #table(): Block {
    const header = cells(this.#line);
    this.at += 2;
    const rows = this.#takeWhile(() => !isBlank(this.#line) && !this.#startsBlock());
    return { kind: "table", rows: [header, ...rows.map(cells)] };
  }

  #paragraph(): Block {
    const first = this.#line;
    this.at += 1;
    const more = this.#takeWhile(() => {
      return !isBlank(this.#line) && !this.#interrupts() && !this.#startsTable();
    });
    return { kind: "paragraph", text: [first, ...more].join("\n").trimEnd() };
  }

  #startsBlock(): boolean {
    return this.#interrupts() || MARKER.test(this.#line);
  }

  #interrupts(): boolean {
    const line = this.#line;
    const pattern = [FENCE, HEADING, QUOTE, INTERRUPTING].some((start) => start.test(line));
    return pattern || isRule(line);
  }

  #startsTable(): boolean {
    const delimiters = this.#lines[this.at + 1];
    if (!delimiters?.includes("-") || !this.#line.includes("|")) return false;
    const marks = cells(delimiters);
    return (
      marks.every((mark) => /^:?-+:?$/.test(mark)) && marks.length === cells(this.#line).length
    );
  }
}

function isBlank(line: string): boolean {
  return line.trim() === "";
}

function isRule(line: string): boolean {
  return /^(?:-{3,}|\*{3,}|_{3,})$/.test(line.replace(/\s/g, ""));
}

/** How far the line's text stands in; a tab counts as four. */
function indentOf(line: string): number {
  const space = /^[ \t]*/.exec(line)?.[0] ?? "";
  return space.replaceAll("\t", "    ").length;
}

/** Takes one tab, or up to that many spaces, from the line's start. */
function strip(line: string, width: number): string {
  if (width > 0 && line.startsWith("\t")) return line.slice(1);
  let end = 0;
  while (end < width && line[end] === " ") end += 1;
  return line.slice(end);
}

/** The cells of a table's row; a bar that is escaped is a part of its cell. */
function cells(line: string): string[] {
  const inner = line.trim().replace(/^\|/, "").replace(/\|$/, "");
  return inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}
