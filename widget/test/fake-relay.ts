/** A small relay that speaks the visitor's half of the wire contract and misbehaves on demand. */

import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import type { Chunk, Entry, Rating, Role, Status } from "../src/wire.ts";

/** One call as it arrived. */
export interface Call {
  /** Method and path template, such as `POST /messages`. */
  readonly name: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage["headers"];
  /** What the path names. */
  readonly id: string;
  readonly body: {
    session_id?: string;
    message?: string;
    identity?: string;
    files?: string[];
    rating?: Rating | null;
  };
}

/** Answers a call in place of the relay; returns false to leave it to the relay after all. */
export type Fault = (call: Call, response: ServerResponse) => boolean;

interface Stream {
  readonly session: string;
  readonly response: ServerResponse;
}

interface Hold {
  readonly session: string;
  readonly after: number;
  readonly response: ServerResponse;
}

export class FakeRelay {
  readonly calls: Call[] = [];
  readonly entries: (Entry & { session: string })[] = [];
  /** Token by session. */
  readonly tokens = new Map<string, string>();
  /** How the relay greets a stream; an empty text keeps it silent. */
  greeting = ": hello\n\n";
  /** What a stream goes on with after the entries that it missed. */
  opening = "";

  #fileCount = 0;
  #accepted = new Map<string, { id: number; session: string; body: string }>();
  #faults = new Map<string, Fault[]>();
  #streams = new Set<Stream>();
  #holds = new Set<Hold>();
  #watchers = new Set<() => void>();
  #server = createServer((request, response) => this.#serve(request, response));

  static async start(): Promise<FakeRelay> {
    const relay = new FakeRelay();
    await new Promise<void>((resolve) => relay.#server.listen(0, "127.0.0.1", resolve));
    return relay;
  }

  get address(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Serves what is not the contract's, such as a page to look at. */
  serve(listener: RequestListener): void {
    this.#server.prependListener("request", listener);
  }

  /** Stands in for the next call of that name. Several are used up one after another. */
  once(name: string, fault: Fault): void {
    this.#faults.set(name, [...(this.#faults.get(name) ?? []), fault]);
  }

  /** Stores an entry and pushes it to whoever listens. */
  say(session: string, role: Role, text: string, messageId: number | null = null): Entry {
    return this.#store(session, { role, text, message_id: messageId });
  }

  /** Stores a reply of the agent that offers answers to it. */
  offer(session: string, text: string, quickReplies: readonly string[]): Entry {
    const reply = { role: "agent", text, message_id: null } as const;
    return this.#store(session, { ...reply, quick_replies: quickReplies });
  }

  /** Stores as much of a reply as was written when the visitor stopped it. */
  sayStopped(session: string, text: string, messageId: number): Entry {
    return this.#store(session, { role: "agent", text, message_id: messageId, stopped: true });
  }

  /** Sends raw bytes into every open stream. */
  write(text: string): void {
    for (const { response } of this.#streams) response.write(text);
  }

  /** Breaks every open stream. */
  cutStreams(): void {
    for (const { response } of this.#streams) response.destroy();
  }

  called(name: string): Call[] {
    return this.calls.filter((call) => call.name === name);
  }

  /** Resolves once the condition holds; looked at whenever something happened at the relay. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      await new Promise<void>((resolve) => this.#watchers.add(resolve));
    }
  }

  /** The sessions of the open streams. */
  get streams(): string[] {
    return [...this.#streams].map(({ session }) => session);
  }

  get streamCount(): number {
    return this.#streams.size;
  }

  get holdCount(): number {
    return this.#holds.size;
  }

  #store(session: string, said: Omit<Entry, "id" | "timestamp">): Entry {
    const id = this.entries.length + 1;
    const timestamp = new Date(1_800_000_000_000 + id * 1_000).toISOString();
    const entry = { id, ...said, timestamp };
    this.entries.push({ ...entry, session });
    for (const stream of this.#streams) {
      if (stream.session === session) stream.response.write(messageEvent(entry));
    }
    for (const hold of this.#holds) {
      if (hold.session === session && said.role !== "visitor") this.#release(hold);
    }
    this.#notify();
    return entry;
  }

  #notify(): void {
    const watchers = [...this.#watchers];
    this.#watchers.clear();
    for (const watcher of watchers) watcher();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!request.url?.startsWith("/api/v1/")) return;
    const url = new URL(request.url, this.address);
    const path = url.pathname.slice("/api/v1".length);
    const [, kind, id = ""] = /^\/(sessions|responses|messages)\/([^/]+)/.exec(path) ?? [];
    const session = kind === "messages" ? "" : id;
    const name = `${request.method} ${id ? path.replace(id, "{id}") : path}`;
    let text = "";
    for await (const piece of request.setEncoding("utf8")) text += piece;

    response.setHeader("Access-Control-Allow-Origin", "*");
    response.setHeader("Access-Control-Allow-Headers", "*, Authorization");
    if (request.method === "OPTIONS") {
      response.end();
      return;
    }
    const body = text && !url.searchParams.has("name") ? JSON.parse(text) : {};
    const call: Call = { name, id, query: url.searchParams, headers: request.headers, body };
    this.calls.push(call);
    const fault = this.#faults.get(name)?.shift();
    if (!fault?.(call, response)) this.#answer(call, text, session, response);
    this.#notify();
  }

  #answer(call: Call, text: string, session: string, response: ServerResponse): void {
    const bearer = call.headers.authorization?.replace("Bearer ", "");
    const after = Number(call.headers["last-event-id"] ?? call.query.get("after") ?? 0);
    if (call.name === "POST /messages") {
      this.#accept(call, text, bearer, response);
    } else if (call.name === "POST /sessions") {
      this.#open(String(call.headers["idempotency-key"]), response);
    } else if (call.name === "POST /messages/{id}/cancel") {
      succeed(response, { cancelled: true });
    } else if (call.name === "POST /messages/{id}/feedback") {
      this.#rate(call, response);
    } else if (!bearer || this.tokens.get(session) !== bearer) {
      refuse(response, 401, "unauthorized", "The token is not good.");
    } else if (call.name === "POST /sessions/{id}/files") {
      this.#fileCount += 1;
      succeed(response, { file_id: `file-${this.#fileCount}` });
    } else if (call.name === "GET /sessions/{id}/messages") {
      this.#transcript(call, session, response);
    } else if (call.name === "GET /sessions/{id}/events") {
      this.#stream(session, after, response);
    } else {
      this.#poll({ session, after, response }, Number(call.query.get("wait")));
    }
  }

  #accept(call: Call, text: string, bearer: string | undefined, response: ServerResponse): void {
    const { session_id, message } = call.body;
    const key = String(call.headers["idempotency-key"]);
    const earlier = this.#accepted.get(key);
    if (earlier && earlier.body !== text) {
      refuse(response, 422, "idempotency_mismatch", "The key was used with another body.");
    } else if (session_id && this.tokens.get(session_id) !== bearer) {
      refuse(response, 401, "unauthorized", "The token is not good.");
    } else {
      const session = earlier?.session ?? session_id ?? `session-${this.tokens.size + 1}`;
      const token = session_id ? undefined : `token-${session}-${this.calls.length}`;
      if (token) this.tokens.set(session, token);
      const id = earlier?.id ?? this.say(session, "visitor", String(message)).id;
      this.#accepted.set(key, { id, session, body: text });
      succeed(response, { message_id: id, session_id: session, session_token: token });
    }
  }

  #open(key: string, response: ServerResponse): void {
    const session = `session-${this.tokens.size + 1}`;
    const token = `token-${session}-${key}`;
    this.tokens.set(session, token);
    succeed(response, { session_id: session, session_token: token });
  }

  #rate({ id, body }: Call, response: ServerResponse): void {
    const { rating } = body;
    const index = this.entries.findIndex((entry) => entry.id === Number(id));
    const { rating: _, ...entry } = this.entries[index] as FakeRelay["entries"][number];
    this.entries[index] = rating ? { ...entry, rating } : entry;
    succeed(response, { rating });
  }

  #transcript(call: Call, session: string, response: ServerResponse): void {
    const before = Number(call.query.get("before") ?? Number.POSITIVE_INFINITY);
    const limit = Number(call.query.get("limit"));
    const older = this.entries.filter((entry) => entry.session === session && entry.id < before);
    succeed(response, {
      messages: older.slice(-limit),
      cursor: String(this.entries.length),
      has_more: older.length > limit,
    });
  }

  #stream(session: string, after: number, response: ServerResponse): void {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.flushHeaders();
    const missed = this.entries.filter((entry) => entry.session === session && entry.id > after);
    const start = this.greeting + missed.map(messageEvent).join("") + this.opening;
    if (this.greeting) response.write(start);
    const stream = { session, response };
    this.#streams.add(stream);
    response.on("close", () => {
      this.#streams.delete(stream);
      this.#notify();
    });
  }

  #poll(hold: Hold, waitSeconds: number): void {
    this.#holds.add(hold);
    hold.response.on("close", () => this.#holds.delete(hold));
    if (waitSeconds === 0 || this.#newReplies(hold).length > 0) this.#release(hold);
  }

  #newReplies({ session, after }: Hold): Entry[] {
    return this.entries.filter(
      (entry) => entry.session === session && entry.id > after && entry.role !== "visitor",
    );
  }

  #release(hold: Hold): void {
    this.#holds.delete(hold);
    const cursor = String(this.entries.length);
    succeed(hold.response, { responses: this.#newReplies(hold), cursor });
  }
}

/** An error body of the contract. */
export function refuse(
  response: ServerResponse,
  code: number,
  type: string,
  error: string,
  retryAfter?: number,
): void {
  const timestamp = new Date().toISOString();
  response.writeHead(code, { "Content-Type": "application/json" });
  response.end(
    JSON.stringify({ success: false, error, code, type, timestamp, retry_after: retryAfter }),
  );
}

function succeed(response: ServerResponse, data: object): void {
  const timestamp = new Date().toISOString();
  response.writeHead(200, { "Content-Type": "application/json" });
  response.end(JSON.stringify({ success: true, message: "ok", timestamp, data }));
}

function messageEvent(entry: Entry): string {
  const { id, role, text, message_id, timestamp, stopped, quick_replies } = entry;
  const data = JSON.stringify({ id, role, text, message_id, timestamp, stopped, quick_replies });
  return `id: ${id}\nevent: message\ndata: ${data}\n\n`;
}

export function chunkEvent(chunk: Chunk): string {
  return `event: chunk\ndata: ${JSON.stringify(chunk)}\n\n`;
}

export function statusEvent(status: Status): string {
  return `event: status\ndata: ${JSON.stringify(status)}\n\n`;
}
