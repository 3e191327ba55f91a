/** The custom element: attributes, shadow root and life cycle. */

import { Chat } from "./chat.ts";
import { oncePerFrame } from "./frame.ts";
import { type Options, readOptions } from "./options.ts";
import { pageStorage } from "./storage.ts";
import { accentSheet, sheet } from "./styles.ts";
import { View } from "./view.ts";

/** `<postern-chat data-relay="…">`: a bubble in the page's corner that opens into a chat. */
export class PosternChat extends HTMLElement {
  #root = this.attachShadow({ mode: "open" });
  /** Ends everything that runs for this element; absent while it is on no page. */
  #life: AbortController | undefined;
  #view: View | undefined;

  connectedCallback(): void {
    this.#life = new AbortController();
    this.#start(readOptions(this.dataset), this.#life.signal);
  }

  disconnectedCallback(): void {
    this.#life?.abort();
    this.#life = undefined;
    this.#view = undefined;
    this.#root.replaceChildren();
  }

  open(): void {
    this.#view?.open();
  }

  close(): void {
    this.#view?.close();
  }

  #start(options: Options, signal: AbortSignal): void {
    const chat = new Chat(options.relay, { storage: pageStorage() }, signal);
    const { conversation } = chat;
    const view = new View(options, {
      send: (text) => chat.send(text),
      stop: () => chat.stop(),
      retry: (name) => chat.retry(name),
      loadEarlier: () => chat.loadEarlier(),
      opened: () => conversation.markSeen(),
    });
    this.#view = view;
    this.#root.adoptedStyleSheets = options.accent ? [sheet, accentSheet(options.accent)] : [sheet];
    this.#root.replaceChildren(...view.nodes);

    const show = () => {
      if (view.isOpen) conversation.markSeen();
      view.show(conversation);
    };
    conversation.addEventListener("change", oncePerFrame(show, signal), { signal });
    addEventListener("online", () => chat.wake(), { signal });
    addEventListener("storage", ({ key }) => chat.sync(key), { signal });
    show();
    chat.start();
  }
}
