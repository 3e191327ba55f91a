/** One visitor's chat with one relay: joins the conversation, the outbox and the inbox. */

import { Attachments } from "./attachments.ts";
import { Backoff } from "./backoff.ts";
import { Client } from "./client.ts";
import { type Clock, systemClock } from "./clock.ts";
import { Conversation } from "./conversation.ts";
import { Identity } from "./identity.ts";
import { Inbox, type News } from "./inbox.ts";
import { newKey } from "./keys.ts";
import { exclusivelyAs, type Locks } from "./lock.ts";
import { LostFiles } from "./lost-files.ts";
import { Outbox } from "./outbox.ts";
import { Rater } from "./rater.ts";
import { SessionKeeper } from "./session.ts";
import { Stopper } from "./stopper.ts";
import { Store } from "./storage.ts";
import { Tabs } from "./tabs.ts";
import { type UnsentFile, UnsentMessages } from "./unsent.ts";
import { type Metadata, type Rating, RelayError } from "./wire.ts";

/** What a chat needs of the platform. */
export interface Platform {
  readonly storage: Pick<Storage, "getItem" | "setItem" | "removeItem">;
  /** Throws where the page may have none. */
  readonly indexedDB: () => IDBFactory;
  readonly clock?: Clock;
  readonly random?: () => number;
  /** Absent where the page may have none. */
  readonly locks?: Locks | undefined;
  /** Names the page to the browser's others. */
  readonly page?: string;
}

const PAGE = newKey();

/** Runs until its signal aborts. It calls the relay only once there is something to send or fetch. */
export class Chat {
  readonly conversation: Conversation;
  /** The files that wait to go with a message. */
  readonly attachments: Attachments;

  #store: Store;
  #unsent: UnsentMessages;
  #session: SessionKeeper;
  #client: Client;
  #identity: Identity;
  #clock: Clock;
  #random: () => number;
  #locks: Locks | undefined;
  #page: string;
  #lostFiles: LostFiles;
  #outbox: Outbox;
  #inbox: Inbox | undefined;
  #stopper: Stopper | undefined;
  #rater: Rater | undefined;
  #signal: AbortSignal;
  #listening = new AbortController();

  /** `relay` is the relay's address, without a slash at its end. */
  constructor(
    relay: string,
    site: string | undefined,
    platform: Platform,
    signal: AbortSignal,
    identity = new Identity(),
  ) {
    this.#store = new Store(relay, site, platform.storage);
    this.#clock = platform.clock ?? systemClock;
    this.#random = platform.random ?? Math.random;
    this.#locks = platform.locks;
    this.#signal = signal;
    this.#identity = identity;
    this.#client = new Client(relay, site, this.#clock);
    this.#session = new SessionKeeper(this.#store);
    const { prefix } = this.#store;
    this.#unsent = new UnsentMessages(this.#store, platform.indexedDB, this.#clock, signal);
    this.conversation = new Conversation(this.#store, this.#unsent);
    // Two that open a session at the same time would open two.
    const exclusively = exclusivelyAs(`${prefix}outbox`, platform.locks);
    const needs = [this.#client, this.conversation, this.#session, identity] as const;
    this.#outbox = new Outbox(...needs, this.#newBackoff(), exclusively);
    this.attachments = new Attachments(...needs, this.#newBackoff(), exclusively);
    this.#page = platform.page ?? PAGE;
    const goOn = () => this.#run();
    this.#lostFiles = new LostFiles(
      this.conversation,
      this.#page,
      prefix,
      platform.locks,
      goOn,
      signal,
    );
    this.attachments.addEventListener("change", goOn, { signal });
    this.#session.addEventListener("change", () => this.#changeSession(), { signal });
    this.#session.addEventListener("forget", () => this.conversation.forgetPast(), { signal });
    this.#unsent.addEventListener("change", () => this.#takeUnsent());
    identity.addEventListener("change", () => this.#takeIdentity(), { signal });
  }

  /** Restores the conversation and sends what an earlier page left unsent. */
  async start(): Promise<void> {
    // Before the transcript is there: what it holds may have been thought unsent.
    await this.conversation.sync();
    if (this.#signal.aborted) return;
    this.#listen();
    this.#lostFiles.watch();
    this.#run();
    this.#takeIdentity();
  }

  /** `metadata` goes along with the message, and so do files. */
  send(text: string, metadata?: Metadata, files: readonly UnsentFile[] = []): void {
    this.conversation.add(text, metadata, files);
    this.#run();
  }

  /** Hands over what is attached, to go with a message. */
  takeFiles(): readonly UnsentFile[] {
    return this.attachments.take(this.#page);
  }

  /** The bytes of a file of the conversation. */
  async file(id: string): Promise<Blob> {
    const session = this.#session.current;
    const sent = this.attachments.sent(id);
    if (sent || !session) return sent ?? Promise.reject();
    return this.#client.file(session, id, this.#listeningSignal);
  }

  /** Sends a message that failed once more. */
  retry(name: string): void {
    this.conversation.retry(name);
    this.#run();
  }

  /** Stops the reply that is awaited, if one is. */
  stop(): void {
    const { awaited } = this.conversation.activity;
    if (awaited !== undefined) this.#stopper?.stop(awaited, this.#listeningSignal);
  }

  /** Tells what the visitor thinks of a reply; null takes back what was said before. */
  rate(id: number, rating: Rating | null): void {
    this.conversation.rate(id, rating);
    this.#rater?.run(this.#listeningSignal);
  }

  /** Loads the page of the transcript before the oldest entry; throws when it cannot be had. */
  async loadEarlier(): Promise<void> {
    await this.#inbox?.loadEarlier(this.#listening.signal);
  }

  /** To be called when the network is back, or the visitor. */
  wake(): void {
    this.#outbox.wake();
    this.attachments.wake();
    this.#inbox?.wake();
    this.#stopper?.wake();
    this.#rater?.wake();
  }

  /** To be called when another tab has written to the storage; null is the key of all of it. */
  sync(key: string | null): void {
    if (key !== null && !key.startsWith(this.#store.prefix)) return;
    this.#session.sync();
  }

  /** Forgets the visitor on this device; to be called before its end. */
  forget(): void {
    this.#store.clear();
    this.#unsent.clear();
  }

  async #takeUnsent(): Promise<void> {
    await this.conversation.sync();
    this.#lostFiles.watch();
    this.#run();
  }

  #takeIdentity(): void {
    if (!this.#identity.token) return;
    this.#outbox.runIdentified(this.#signal);
    this.attachments.wake();
  }

  #run(): void {
    this.#outbox.run(this.#signal);
    this.attachments.run(this.#signal);
  }

  #changeSession(): void {
    this.conversation.leaveSession();
    this.attachments.leaveSession();
    this.#listen();
  }

  #listen(): void {
    this.#listening.abort();
    this.#listening = new AbortController();
    this.#inbox = undefined;
    this.#stopper = undefined;
    this.#rater = undefined;
    const session = this.#session.current;
    if (!session) return;

    const { conversation } = this;
    const signal = this.#listeningSignal;
    const tabs = new Tabs<News>(this.#store.prefix + session.id, this.#locks, this.#clock, signal);
    this.#stopper = new Stopper(session, this.#client, conversation, this.#newBackoff());
    this.#rater = new Rater(session, this.#client, conversation, this.#newBackoff());
    this.#inbox = new Inbox(
      session,
      this.#client,
      conversation,
      this.#clock,
      this.#newBackoff(),
      tabs,
    );
    this.#inbox.run(signal).catch((error) => {
      if (!(error instanceof RelayError)) throw error;
      this.#session.leave(session.token, error);
    });
  }

  get #listeningSignal(): AbortSignal {
    return AbortSignal.any([this.#signal, this.#listening.signal]);
  }

  #newBackoff(): Backoff {
    return new Backoff(this.#clock, this.#random);
  }
}
