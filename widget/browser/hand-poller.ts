/** A poller worked by hand: it speaks the wire, and each of its steps is one of the test's. */

import assert from "node:assert/strict";
import type { FileInfo } from "../src/wire.ts";
import { API_KEY } from "./process.ts";

const HOLD_SECONDS = 30;

interface Leased {
  readonly id: number;
  readonly session_id: string;
  readonly message: string;
  readonly files?: readonly FileInfo[];
  readonly lease_id: string;
}

interface Answer {
  readonly data?: {
    messages?: Leased[];
    received?: number;
    cancelled?: boolean;
    file_id?: string;
  };
  readonly type?: string;
  readonly offset?: number;
}

export class HandPoller {
  #api: string;
  #held = new AbortController();

  /** `relay` is the relay's address. */
  constructor(relay: string) {
    this.#api = `${relay}/api/v1`;
  }

  /** Waits for the next message, and leases it for longer than a test takes if not told otherwise. */
  async lease(leaseSeconds = 600): Promise<Lease> {
    for (;;) {
      const wish = { limit: 1, wait_seconds: HOLD_SECONDS, lease_seconds: leaseSeconds };
      const { data } = await this.call("/inbox/lease", wish);
      const [leased] = data?.messages ?? [];
      if (leased) return new Lease(this, leased);
    }
  }

  async call(path: string, body: object): Promise<Answer> {
    return this.post(path, JSON.stringify(body), {});
  }

  async post(path: string, body: BodyInit, own: Record<string, string>): Promise<Answer> {
    const headers = { Authorization: `Bearer ${API_KEY}`, Connection: "close", ...own };
    const init = { method: "POST", headers, body, signal: this.#held.signal };
    return (await fetch(this.#api + path, init)).json();
  }

  /** Ends the calls that are held. */
  hangUp(): void {
    this.#held.abort();
    this.#held = new AbortController();
  }

  async close(): Promise<void> {
    this.hangUp();
  }
}

/** One message with the agent that the test plays. */
export class Lease {
  readonly message: string;
  /** The names of the visitor's files. */
  readonly files: readonly string[];
  #poller: HandPoller;
  #leased: Leased;
  /** What the agent has written so far. */
  #text = "";
  #replyFiles: string[] = [];

  constructor(poller: HandPoller, leased: Leased) {
    this.#poller = poller;
    this.#leased = leased;
    this.message = leased.message;
    this.files = leased.files?.map(({ name }) => name) ?? [];
  }

  /** Writes on; says besides what the agent is at, or that it says nothing. */
  async writes(text: string, progress?: string): Promise<void> {
    const offset = Buffer.byteLength(this.#text);
    this.#text += text;
    const { type, offset: wanted } = await this.#call("chunks", { offset, text, progress });
    if (type !== "offset_mismatch") return;
    // The relay has come back without what it had been told.
    const missing = Buffer.from(this.#text).subarray(wanted).toString();
    await this.#post("chunks", { offset: wanted, text: missing, progress });
  }

  /** Posts what was written, and this after it, as the reply; offers answers to it. */
  async finishes(text = "", quickReplies: readonly string[] = []): Promise<void> {
    await this.#reply({ response: this.#text + text, quick_replies: quickReplies });
  }

  /** Stores a file, to go with the reply. */
  async attaches(name: string, type: string, bytes: BodyInit): Promise<void> {
    const path = `/sessions/${this.#leased.session_id}/files?name=${name}`;
    const { data, type: error } = await this.#poller.post(path, bytes, { "Content-Type": type });
    assert(data?.file_id, error);
    this.#replyFiles.push(data.file_id);
  }

  /** Says something of the agent's own accord. */
  async adds(response: string): Promise<void> {
    const { session_id } = this.#leased;
    const { data, type } = await this.#poller.call("/outbox", { session_id, response });
    assert(data, type);
  }

  /** Resolves once the visitor has stopped it, with what had been written posted. */
  async stops(): Promise<void> {
    const { data } = await this.#post("extend", { lease_seconds: 600, wait_seconds: HOLD_SECONDS });
    assert.equal(data?.cancelled, true);
    await this.#reply({ response: this.#text, stopped: true });
  }

  /** Gives the message back for good, or for another try after a while. */
  async fails(how: { dead_letter: true } | { retry_after_seconds: number }): Promise<void> {
    await this.#post("nack", { error: "staged", ...how });
  }

  async #reply(reply: object): Promise<void> {
    const { id: message_id, session_id, lease_id } = this.#leased;
    const body = { session_id, message_id, lease_id, files: this.#replyFiles, ...reply };
    const { data, type } = await this.#poller.call("/outbox", body);
    assert(data, type);
  }

  async #post(step: string, body: object): Promise<Answer> {
    const answer = await this.#call(step, body);
    assert(answer.data, answer.type);
    return answer;
  }

  #call(step: string, body: object): Promise<Answer> {
    const { id, lease_id } = this.#leased;
    return this.#poller.call(`/inbox/${id}/${step}`, { lease_id, ...body });
  }
}
