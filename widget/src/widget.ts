/** What runs while an element is on a page: a chat, and the view of it. */

import type { Attachment } from "./attachments.ts";
import { Chat } from "./chat.ts";
import { oncePerFrame } from "./frame.ts";
import type { Identity } from "./identity.ts";
import type { Options } from "./options.ts";
import { bell } from "./sound.ts";
import { pageStorage, Store } from "./storage.ts";
import { PageTitle } from "./title.ts";
import type { UnsentFile } from "./unsent.ts";
import { View } from "./view.ts";
import type { Entry, Metadata, Rating } from "./wire.ts";

/** What the page is told, each with its detail. */
export interface Events {
  ready: undefined;
  open: undefined;
  close: undefined;
  /** The visitor has sent a message. */
  send: { text: string };
  /** A reply has come in, or a notice. */
  message: Pick<Entry, "id" | "role" | "text" | "timestamp">;
  /** The visitor has rated a reply, or, with null, taken that back. */
  feedback: { id: number; rating: Rating | null };
  /** The relay does not take the visitor's token, or misses one; the page is to identify again. */
  identity: { error: string };
  /** How many replies the visitor has not seen. */
  unread: { count: number };
}

export type Emit = <Name extends keyof Events>(name: Name, detail: Events[Name]) => void;

export class Widget {
  readonly view: View;
  #chat: Chat;
  #emit: Emit;
  #metadata: () => Metadata | undefined;
  #title = new PageTitle();
  /** Absent where replies are not to be heard. */
  #ring: (() => void) | undefined;
  /** What only this tab knows. */
  #tab: Store;
  #reopens: boolean;
  #unread = 0;

  /** `metadata` is asked for what goes along with each message. */
  constructor(
    options: Options,
    metadata: () => Metadata | undefined,
    identity: Identity,
    emit: Emit,
    signal: AbortSignal,
  ) {
    this.#metadata = metadata;
    this.#emit = emit;
    const { relay, site, hasSound } = options;
    const bellName = `postern:${relay}:${site}:sound`;
    if (hasSound) this.#ring = bell(bellName, navigator.locks, signal);
    this.#reopens = options.reopens;
    this.#tab = new Store(relay, site, pageStorage("sessionStorage"));
    const platform = {
      storage: pageStorage("localStorage"),
      indexedDB: () => indexedDB,
      locks: navigator.locks,
    };
    this.#chat = new Chat(relay, site, platform, signal, identity);
    const chat = this.#chat;
    const { attachments } = chat;
    this.view = new View(
      options,
      {
        send: (text) => this.send(text),
        submit: (text) => this.send(text, chat.takeFiles()),
        stop: () => chat.stop(),
        retry: (name) => chat.retry(name),
        ...(options.hasFeedback && { rate: this.#rate.bind(this) }),
        loadEarlier: () => chat.loadEarlier(),
        fetchFile: (id) => chat.file(id),
        ...(options.takesFiles && {
          files: {
            attach: (file) => attachments.add(file),
            detach: (key) => attachments.remove(key),
          },
        }),
        opened: () => {
          this.#tab.isOpen = true;
          emit("open", undefined);
          this.#count();
        },
        closed: () => {
          this.#tab.isOpen = false;
          emit("close", undefined);
        },
      },
      signal,
    );
    this.#listen(signal);
  }

  /** Whether the page before this one was left with the panel open, and it is to stay so. */
  get wasOpen(): boolean {
    return this.#reopens && this.#tab.isOpen;
  }

  start(): void {
    this.#count();
    this.view.show(this.#chat.conversation, this.#chat.attachments.list);
    this.#chat.start();
  }

  /** The files that are not sent yet. */
  get attachments(): readonly Attachment[] {
    return this.#chat.attachments.all;
  }

  set attachments(attachments: readonly Attachment[]) {
    this.#chat.attachments.all = attachments;
  }

  send(text: string, files: readonly UnsentFile[] = []): void {
    this.#chat.send(text, this.#metadata(), files);
    this.#emit("send", { text });
  }

  /** Forgets the conversation on this device; to be called before its end. */
  forget(): void {
    this.#chat.forget();
  }

  #rate(id: number, rating: Rating | null): void {
    this.#chat.rate(id, rating);
    this.#emit("feedback", { id, rating });
  }

  #listen(signal: AbortSignal): void {
    const { conversation, attachments } = this.#chat;
    const draw = oncePerFrame(() => this.view.show(conversation, attachments.list), signal);
    const onChange = () => {
      this.#count();
      draw();
    };
    conversation.addEventListener("change", onChange, { signal });
    attachments.addEventListener("change", draw, { signal });
    conversation.addEventListener("reply", (event) => this.#tellReply(event), { signal });
    const onSight = () => {
      this.#count();
      if (!document.hidden) this.#chat.wake();
    };
    document.addEventListener("visibilitychange", onSight, { signal });
    signal.addEventListener("abort", () => {
      this.#title.unread = 0;
    });
    addEventListener("online", () => this.#chat.wake(), { signal });
    addEventListener("storage", ({ key }) => this.#chat.sync(key), { signal });
  }

  /** Counts what is unread; at once, since a page in the background paints no frames. */
  #count(): void {
    const { conversation } = this.#chat;
    if (this.view.isOpen && !document.hidden) conversation.markSeen();
    const count = conversation.unread;
    if (count === this.#unread) return;
    this.#unread = count;
    this.#title.unread = count;
    this.#emit("unread", { count });
  }

  #tellReply(event: Event): void {
    if (!(event instanceof CustomEvent)) return;
    const { id, role, text, timestamp }: Entry = event.detail;
    this.#emit("message", { id, role, text, timestamp });
    this.#ring?.();
  }
}
