/** The visitor's calls to the relay, one method each; it keeps no state and decides nothing. */

import { type Clock, within } from "./clock.ts";
import { solve } from "./proof.ts";
import { type ServerEvent, SseParser } from "./sse.ts";
import type { Session } from "./storage.ts";
import { sendBytes } from "./upload.ts";
import {
  type Accepted,
  type NewMessage,
  type Proof,
  type Rating,
  RelayError,
  type Replies,
  type SessionOpened,
  type TranscriptPage,
} from "./wire.ts";

const CALL_TIMEOUT_MS = 30_000;
const FIRST_BYTE_TIMEOUT_MS = 10_000;
const SILENCE_TIMEOUT_MS = 40_000;
const PAGE_SIZE = 50;
const JSON_BODY = { "Content-Type": "application/json" };

export class Client {
  #base: string;
  #site: string | undefined;
  #clock: Clock;

  /** `relay` is the relay's address, without a slash at its end. */
  constructor(relay: string, site: string | undefined, clock: Clock) {
    this.#base = `${relay}/api/v1`;
    this.#site = site;
    this.#clock = clock;
  }

  /** Stores one message; repeating it with the same key and body is harmless. */
  post(body: NewMessage, key: string, token: string | undefined, signal: AbortSignal) {
    return this.#post<Accepted>("/messages", body, key, token, signal);
  }

  /** Opens a session without a message; repeated with the same key, it opens the same one. */
  openSession(
    body: Pick<NewMessage, "identity">,
    key: string,
    token: string | undefined,
    signal: AbortSignal,
  ) {
    return this.#post<SessionOpened>("/sessions", body, key, token, signal);
  }

  /** Stores a file, to go with a message; repeating it with the same key is harmless. */
  async upload(
    session: Session,
    file: File,
    key: string,
    onProgress: (share: number) => void,
    signal: AbortSignal,
  ): Promise<{ readonly file_id: string }> {
    const query = new URLSearchParams({ name: file.name });
    const url = this.#url(`/sessions/${session.id}/files?${query}`);
    const headers = { Authorization: `Bearer ${session.token}`, "Idempotency-Key": key };
    return unwrap(await sendBytes(url, headers, file, onProgress, signal));
  }

  /** The bytes of a file that goes with an entry. */
  async file(session: Session, id: string, signal: AbortSignal): Promise<Blob> {
    const path = `/sessions/${session.id}/files/${id}`;
    const response = await this.#fetch(path, {}, session.token, signal);
    return response.ok ? response.blob() : unwrap(response);
  }

  /** Stops the reply to a message; repeating it is harmless. */
  cancel(session: Session, id: number, signal: AbortSignal) {
    return this.#call<object>(`/messages/${id}/cancel`, { method: "POST" }, session.token, signal);
  }

  /** Tells what the visitor thinks of a reply; the last call counts. It outlives the page. */
  rate(session: Session, id: number, rating: Rating | null, signal: AbortSignal) {
    const body = JSON.stringify({ rating });
    const init = { method: "POST", headers: JSON_BODY, body, keepalive: true };
    return this.#call<object>(`/messages/${id}/feedback`, init, session.token, signal);
  }

  /** A page of the transcript: the newest, or the one before an entry. */
  transcript(session: Session, before: number | undefined, signal: AbortSignal) {
    const query = new URLSearchParams({ limit: String(PAGE_SIZE) });
    if (before !== undefined) query.set("before", String(before));
    const path = `/sessions/${session.id}/messages?${query}`;
    return this.#call<TranscriptPage>(path, {}, session.token, signal);
  }

  /** Replies after the cursor; the relay holds the call up to `waitSeconds` when there are none. */
  replies(session: Session, cursor: string, waitSeconds: number, signal: AbortSignal) {
    const query = new URLSearchParams({ after: cursor, wait: String(waitSeconds) });
    return this.#call<Replies>(`/responses/${session.id}?${query}`, {}, session.token, signal);
  }

  /**
   * Opens the event stream. Resolves once its first bytes are here, so that it is known to stream;
   * a `TimeoutError`, here or while it is read, means silence.
   */
  async events(
    session: Session,
    cursor: string,
    signal: AbortSignal,
  ): Promise<AsyncIterable<ServerEvent>> {
    const closing = new AbortController();
    try {
      const headers = { Accept: "text/event-stream", "Last-Event-ID": cursor };
      const both = AbortSignal.any([signal, closing.signal]);
      const head = this.#fetch(`/sessions/${session.id}/events`, { headers }, session.token, both);
      const response = await within(this.#clock, FIRST_BYTE_TIMEOUT_MS, head);
      if (!response.ok) await unwrap(response);
      const type = response.headers.get("Content-Type");
      if (!type?.startsWith("text/event-stream") || !response.body) {
        throw new TypeError("The answer is not a stream.");
      }
      const reader = response.body.getReader();
      const first = await within(this.#clock, FIRST_BYTE_TIMEOUT_MS, reader.read());
      return this.#read(reader, first, closing);
    } catch (error) {
      closing.abort();
      throw error;
    }
  }

  async *#read(
    reader: ReadableStreamDefaultReader<Uint8Array>,
    first: ReadableStreamReadResult<Uint8Array>,
    closing: AbortController,
  ): AsyncGenerator<ServerEvent> {
    const parser = new SseParser();
    try {
      for (let piece = first; !piece.done; ) {
        yield* parser.push(piece.value);
        piece = await within(this.#clock, SILENCE_TIMEOUT_MS, reader.read());
      }
    } finally {
      closing.abort();
    }
  }

  /** Posts; where the relay asks for work first, does it and posts again. */
  async #post<T>(
    path: string,
    body: object,
    key: string,
    token: string | undefined,
    signal: AbortSignal,
  ): Promise<T> {
    const headers = { ...JSON_BODY, "Idempotency-Key": key };
    const post = (proof?: Proof) => {
      const init = { method: "POST", headers, body: JSON.stringify({ ...body, proof }) };
      return this.#call<T>(path, init, token, signal);
    };
    try {
      return await post();
    } catch (error) {
      const challenge = error instanceof RelayError && error.challenge;
      const proof = challenge && (await solve(challenge, key, signal));
      if (!proof) throw error;
      return post(proof);
    }
  }

  async #call<T>(
    path: string,
    init: RequestInit,
    token: string | undefined,
    signal: AbortSignal,
  ): Promise<T> {
    const closing = new AbortController();
    const both = AbortSignal.any([signal, closing.signal]);
    try {
      const answer = this.#fetch(path, init, token, both).then(unwrap<T>);
      return await within(this.#clock, CALL_TIMEOUT_MS, answer);
    } finally {
      closing.abort();
    }
  }

  #url(path: string): string {
    const url = new URL(this.#base + path);
    if (this.#site) url.searchParams.set("site", this.#site);
    return url.href;
  }

  #fetch(path: string, init: RequestInit, token: string | undefined, signal: AbortSignal) {
    const headers = new Headers(init.headers);
    if (token) headers.set("Authorization", `Bearer ${token}`);
    const policy = { credentials: "omit", cache: "no-store" } as const;
    return fetch(this.#url(path), { ...init, ...policy, headers, signal });
  }
}

async function unwrap<T>(response: Response): Promise<T> {
  const body = await response.json().catch(() => null);
  if (response.ok && body?.success === true) return body.data;
  const seconds = Number(body?.retry_after ?? response.headers.get("Retry-After"));
  throw new RelayError(
    response.status,
    body?.type || "",
    body?.error || `The relay answered ${response.status}.`,
    seconds > 0 ? seconds * 1_000 : 0,
    body?.challenge,
  );
}
