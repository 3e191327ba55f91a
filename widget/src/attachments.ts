/** The files that the visitor attaches: they go to the relay at once, and their message after them. */

import type { Backoff } from "./backoff.ts";
import type { Client } from "./client.ts";
import type { Conversation } from "./conversation.ts";
import type { Identity } from "./identity.ts";
import { newKey } from "./keys.ts";
import type { Exclusively } from "./lock.ts";
import type { SessionKeeper } from "./session.ts";
import type { Session } from "./storage.ts";
import { texts } from "./texts.ts";
import type { UnsentFile } from "./unsent.ts";
import { RelayError, retryAfterMs } from "./wire.ts";

/** As many as a relay takes with one message, if not told otherwise. */
const MAX_PER_MESSAGE = 5;

/** One file; replaced, never changed. */
export interface Attachment {
  /** Its idempotency key, and its name here. */
  readonly key: string;
  readonly file: File;
  /** Ends the sending of it. */
  readonly life: AbortController;
  /** How much of it has been sent, from 0 to 1. */
  readonly progress: number;
  /** Whether the last try found no way to the relay. */
  readonly isRetrying?: boolean;
  /** The relay's id for it, once it is stored. */
  readonly id?: string;
  /** Why it will not be sent by itself any more. */
  readonly error?: string;
  /** Whether its message is waiting for it. */
  readonly isTaken?: boolean;
}

/** Tells of each change by a `change` event. */
export class Attachments extends EventTarget {
  #client: Client;
  #conversation: Conversation;
  #session: SessionKeeper;
  #identity: Identity;
  #backoff: Backoff;
  #exclusively: Exclusively;
  #all: readonly Attachment[] = [];
  #isRunning = false;
  #openingKey = newKey();
  /** By key: what this page has sent, it need not fetch to show it. */
  #sent = new Map<string, File>();

  constructor(
    client: Client,
    conversation: Conversation,
    session: SessionKeeper,
    identity: Identity,
    backoff: Backoff,
    exclusively: Exclusively,
  ) {
    super();
    this.#client = client;
    this.#conversation = conversation;
    this.#session = session;
    this.#identity = identity;
    this.#backoff = backoff;
    this.#exclusively = exclusively;
  }

  /** Those that wait to go with the next message. */
  get list(): readonly Attachment[] {
    return this.#all.filter(({ isTaken }) => !isTaken);
  }

  /** All that the relay does not have yet, or no message. */
  get all(): readonly Attachment[] {
    return this.#all;
  }

  set all(attachments: readonly Attachment[]) {
    this.#all = attachments;
    for (const { key, file } of attachments) this.#sent.set(key, file);
    this.dispatchEvent(new Event("change"));
  }

  add(file: File): void {
    const fresh = { key: newKey(), file, life: new AbortController(), progress: 0 };
    const isTooMany = this.list.filter(isGood).length >= MAX_PER_MESSAGE;
    this.all = [...this.#all, isTooMany ? { ...fresh, error: texts.tooMany } : fresh];
  }

  remove(key: string): void {
    this.#find(key)?.life.abort();
    this.all = this.#all.filter((attachment) => attachment.key !== key);
  }

  /** Hands over those that were not refused, to go with a message of this page. */
  take(page: string): readonly UnsentFile[] {
    const taken = this.list.filter(isGood);
    this.all = this.#all.flatMap((attachment) => {
      if (!taken.includes(attachment)) return attachment;
      return attachment.id ? [] : { ...attachment, isTaken: true };
    });
    return taken.map(({ key, id, file: { name, type, size } }) => {
      const info = { id: id ?? key, name, type, size_bytes: size };
      return id ? info : { ...info, page };
    });
  }

  /** The bytes of a file that this page has sent. */
  sent(key: string): Blob | undefined {
    return this.#sent.get(key);
  }

  /** Begins anew with what was stored in a session that is over. */
  leaveSession(): void {
    this.all = this.#all.map(({ id, ...attachment }) => attachment);
  }

  /** Sends until nothing is left to be sent; a second call while one runs does nothing. */
  async run(signal: AbortSignal): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    for (;;) {
      const next = this.#all.find(({ id, error }) => !id && !error);
      if (signal.aborted || !next) break;
      await this.#attempt(next, AbortSignal.any([signal, next.life.signal]));
    }
    this.#isRunning = false;
  }

  /** Tries again at once instead of waiting for the next try. */
  wake(): void {
    this.#backoff.wake();
  }

  /** Tries once; what is not known to have been stored, or refused, is left to be tried again. */
  async #attempt({ key, file }: Attachment, signal: AbortSignal): Promise<void> {
    const { token } = this.#session;
    const identity = this.#identity.shownIn(null);
    try {
      const session = await this.#openSession(identity, signal);
      const onProgress = (progress: number) => this.#revise(key, { progress, isRetrying: false });
      const { file_id } = await this.#client.upload(session, file, key, onProgress, signal);
      this.#backoff.reset();
      this.#stored(key, file_id, session);
    } catch (error) {
      if (signal.aborted) return;
      const isFinal = error instanceof RelayError && error.isFinal;
      if (!isFinal || error.refusesIdentity) {
        // The page is asked for another identity, and wakes this when it has one.
        if (isFinal) this.#identity.refuse(identity, error.message);
        this.#revise(key, { progress: 0, isRetrying: true });
        await this.#backoff.wait(signal, retryAfterMs(error));
      } else if (error.refusesSession && token) this.#session.leave(token, error);
      else this.#refused(key, error);
    }
  }

  /** The session that there is, else a new one. */
  #openSession(identity: string | undefined, signal: AbortSignal): Promise<Session> {
    return this.#exclusively(async () => {
      const { current, token } = this.#session;
      if (current) return current;
      const body = identity ? { identity } : {};
      const opened = await this.#client.openSession(body, this.#openingKey, token, signal);
      signal.throwIfAborted();
      this.#identity.take(identity, opened.session_id);
      this.#openingKey = newKey();
      const session = { id: opened.session_id, token: opened.session_token };
      this.#session.enter(session.id, session.token);
      return session;
    });
  }

  #stored(key: string, id: string, session: Session): void {
    if (this.#find(key)?.isTaken) {
      this.#conversation.fileStored(key, id, session.id);
      this.remove(key);
    } else this.#revise(key, { id });
  }

  #refused(key: string, refusal: RelayError): void {
    const error = sentence(refusal);
    if (this.#find(key)?.isTaken) {
      this.#conversation.dropFiles(({ id }) => id === key, error);
      this.remove(key);
    } else this.#revise(key, { error });
  }

  #find(key: string): Attachment | undefined {
    return this.#all.find((attachment) => attachment.key === key);
  }

  #revise(key: string, change: Partial<Attachment>): void {
    this.all = this.#all.map((attachment) =>
      attachment.key === key ? { ...attachment, ...change } : attachment,
    );
  }
}

export function isGood({ error }: Attachment): boolean {
  return !error;
}

/** In the visitor's words where there are some. */
function sentence({ status, message }: RelayError): string {
  const own = { 400: texts.notTaken, 409: texts.tooMany, 413: texts.tooLarge };
  return own[status as keyof typeof own] ?? message;
}
