/** Reads Server-Sent Events out of bytes that arrive in pieces of any size. */

export interface ServerEvent {
  readonly type: string;
  readonly data: string;
  /** The last `id:` seen so far, which this event may have inherited; empty when there was none. */
  readonly id: string;
}

/** One parser reads one connection. Framing follows the HTML standard, section 9.2.6. */
export class SseParser {
  /** What the last `retry:` field asked for, in milliseconds. */
  retryMs: number | undefined;

  #decoder = new TextDecoder();
  #line = "";
  #endedInCr = false;
  #type = "";
  #data: string[] = [];
  #id = "";

  /** Takes the next piece and returns the events it completed. */
  push(bytes: Uint8Array): ServerEvent[] {
    let text = this.#decoder.decode(bytes, { stream: true });
    if (text === "") return [];
    // A line feed that follows a carriage return belongs to the line break already seen.
    if (this.#endedInCr && text.startsWith("\n")) text = text.slice(1);
    this.#endedInCr = text === "" ? false : text.endsWith("\r");

    const lines = (this.#line + text).split(/\r\n|\n|\r/);
    this.#line = lines.pop() ?? "";
    return lines.flatMap((line) => this.#take(line) ?? []);
  }

  #take(line: string): ServerEvent | undefined {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") this.#data.push(value);
    else if (field === "event") this.#type = value;
    else if (field === "id" && !value.includes("\0")) this.#id = value;
    else if (field === "retry" && /^\d+$/.test(value)) this.retryMs = Number(value);
  }

  #dispatch(): ServerEvent | undefined {
    const type = this.#type || "message";
    const data = this.#data;
    this.#type = "";
    this.#data = [];
    if (data.length > 0) return { type, data: data.join("\n"), id: this.#id };
  }
}
