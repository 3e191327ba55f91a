/** Markdown inside a block: emphasis, code, links. One pass over the text, whatever it holds. */

export type Inline = string | Styled | Code | Link;

export interface Styled {
  readonly kind: "em" | "strong" | "del";
  readonly children: readonly Inline[];
}

export interface Code {
  readonly kind: "code";
  readonly text: string;
}

export interface Link {
  readonly kind: "link";
  readonly href: string;
  readonly children: readonly Inline[];
}

/** A marker that may turn out to have been plain text, and what follows it. */
interface Frame {
  mark: string;
  /** Whether a bracket can still become a link. */
  isOpen: boolean;
  children: Inline[];
}

/** So many markers may be open at a time; it bounds the depth of the result, and the work. */
const MAX_OPEN = 32;

const SPECIAL =
  /\\[!-/:-@[-`{-~]|`+|\*+|_+|~~|!?\[|\]|<(?:https?|mailto|tel):[^\s<>]+>|\bhttps?:\/\/[!#-&(-;=?-Z\\^_a-z~]+/gi;
const DESTINATION = /\(\s*(?:<([^<>\n]*)>|((?:[^\s()]|\([^\s()]*\))+))(?:\s+"[^"]*")?\s*\)/y;
const SAFE = /^(?:https?|mailto|tel):$/;

export function parseInline(text: string): readonly Inline[] {
  return new InlineParser(text).parse();
}

class InlineParser {
  #text: string;
  #at = 0;
  #frames: Frame[] = [newFrame("")];
  #ticks: Map<number, number[]>;

  constructor(text: string) {
    this.#text = text;
    this.#ticks = tickRuns(text);
  }

  parse(): readonly Inline[] {
    const special = new RegExp(SPECIAL);
    for (;;) {
      special.lastIndex = this.#at;
      const found = special.exec(this.#text);
      this.#add(this.#text.slice(this.#at, found?.index));
      if (!found) break;
      this.#at = found.index;
      this.#take(found[0]);
    }
    while (this.#frames.length > 1) this.#unmark();
    return this.#top.children;
  }

  get #top(): Frame {
    return this.#frames.at(-1) as Frame;
  }

  #take(mark: string): void {
    const start = this.#at;
    this.#at += mark.length;
    if (mark.startsWith("\\")) this.#add(mark.slice(1));
    else if (mark.startsWith("`")) this.#takeCode(mark, start);
    else if (mark.endsWith("[")) this.#push(mark);
    else if (mark === "]") this.#closeLink();
    else if (mark.startsWith("<")) this.#autolink(mark.slice(1, -1), mark);
    else if (/^h/i.test(mark)) this.#takeAddress(mark, start);
    else this.#takeEmphasis(mark, start);
  }

  #takeCode(ticks: string, start: number): void {
    const runs = this.#ticks.get(ticks.length) ?? [];
    // Positions that lie behind are dropped for good, so that all searches together are one pass.
    while ((runs.at(-1) ?? Infinity) <= start) runs.pop();
    const end = runs.at(-1);
    if (end === undefined) {
      this.#add(ticks);
      return;
    }
    const text = this.#text.slice(this.#at, end);
    const isPadded = text.startsWith(" ") && text.endsWith(" ") && text.trim() !== "";
    this.#add({ kind: "code", text: isPadded ? text.slice(1, -1) : text });
    this.#at = end + ticks.length;
  }

  #takeAddress(found: string, start: number): void {
    const inner = found.includes("(") ? found : (found.split(")", 1)[0] ?? "");
    const address = inner.replace(/[.,:;!?*_~]{1,9}$/, "");
    this.#at = start + address.length;
    this.#autolink(address, address);
  }

  #autolink(address: string, source: string): void {
    const href = safeAddress(address);
    if (href) this.#add({ kind: "link", href, children: [address] });
    else this.#add(source);
  }

  /** A bracket becomes a link only when an address that is safe to follow comes after it. */
  #closeLink(): void {
    const opener = this.#frames.findLastIndex((frame) => frame.isOpen);
    DESTINATION.lastIndex = this.#at;
    const found = opener < 0 ? null : DESTINATION.exec(this.#text);
    const href = safeAddress(found?.[1] ?? found?.[2] ?? "");
    if (found && href) {
      this.#at += found[0].length;
      const children = withoutLinks(this.#pop(opener));
      this.#add({ kind: "link", href, children: children.length > 0 ? children : [href] });
      for (const frame of this.#frames) frame.isOpen = false;
    } else {
      const frame = this.#frames[opener];
      if (frame) frame.isOpen = false;
      this.#add("]");
    }
  }

  #takeEmphasis(run: string, start: number): void {
    const char = run[0] as string;
    const before = this.#text[start - 1] ?? " ";
    const after = this.#text[this.#at] ?? " ";
    const inWord = char === "_" ? /[\p{L}\p{N}_]/u : /$^/;
    let rest = run;
    if (/\S/.test(before) && !inWord.test(after)) rest = this.#closeEmphasis(run);
    if (/\S/.test(after) && !inWord.test(before)) this.#push(rest);
    else this.#add(rest);
  }

  /** Closes what the run can close, and gives the markers that are left of it. */
  #closeEmphasis(run: string): string {
    let rest = run;
    while (rest) {
      const opener = this.#frames.findLastIndex(({ mark }) => matches(mark, rest));
      const mark = this.#frames[opener]?.mark;
      if (!mark) break;
      const size = Math.min(mark.length, rest.length, 2);
      const kind = mark[0] === "~" ? "del" : size === 2 ? "strong" : "em";
      const styled: Inline = { kind, children: this.#pop(opener) };
      this.#push(mark.slice(size));
      this.#add(styled);
      rest = rest.slice(size);
    }
    return rest;
  }

  #push(mark: string): void {
    if (mark === "") return;
    if (this.#frames.length > MAX_OPEN) this.#add(mark);
    else this.#frames.push(newFrame(mark));
  }

  /** Ends a frame and those within it, and gives what follows its marker. */
  #pop(index: number): Inline[] {
    while (this.#frames.length > index + 1) this.#unmark();
    return this.#frames.pop()?.children ?? [];
  }

  /** The innermost marker was plain text after all. */
  #unmark(): void {
    const frame = this.#frames.pop();
    if (!frame) return;
    this.#add(frame.mark);
    for (const child of frame.children) this.#add(child);
  }

  #add(child: Inline): void {
    const { children } = this.#top;
    const last = children.at(-1);
    if (typeof child === "string" && typeof last === "string") {
      children[children.length - 1] = last + child;
    } else if (child !== "") children.push(child);
  }
}

/** One marker and two of them do not match: the one in "*a**b*" goes on to the last. */
function matches(mark: string, run: string): boolean {
  return mark[0] === run[0] && (mark.length === run.length || mark.length + run.length !== 3);
}

function newFrame(mark: string): Frame {
  return { mark, isOpen: mark.endsWith("["), children: [] };
}

/** Where the runs of backticks of each length stand, the first one last. */
function tickRuns(text: string): Map<number, number[]> {
  const runs = new Map<number, number[]>();
  for (const { 0: ticks, index } of text.matchAll(/`+/g)) {
    const same = runs.get(ticks.length);
    if (same) same.push(index);
    else runs.set(ticks.length, [index]);
  }
  for (const positions of runs.values()) positions.reverse();
  return runs;
}

/** The address as the browser understands it, if it is one that is safe to follow. */
function safeAddress(address: string): string | undefined {
  const url = URL.canParse(address) ? new URL(address) : undefined;
  return url && SAFE.test(url.protocol) ? url.href : undefined;
}

/** A link cannot hold another one; of an address within its text, only the text stays. */
function withoutLinks(children: readonly Inline[]): readonly Inline[] {
  return children.flatMap((child): readonly Inline[] => {
    if (typeof child === "string" || child.kind === "code") return [child];
    const inner = withoutLinks(child.children);
    return child.kind === "link" ? inner : [{ ...child, children: inner }];
  });
}
