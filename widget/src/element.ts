/** The custom element: attributes, shadow root, life cycle, and what a page may do with it. */

import { Identity } from "./identity.ts";
import { readOptions, relayAddress, type Settings, wantedLanguage } from "./options.ts";
import { ownSheet, sheet } from "./styles.ts";
import { isKnown } from "./texts.ts";
import { fetchTexts } from "./translation.ts";
import type { ViewState } from "./view.ts";
import { type Events, Widget } from "./widget.ts";
import type { Metadata } from "./wire.ts";

declare global {
  interface Window {
    /** Set by the page before the script runs. */
    PosternSettings?: Settings;
  }
}

/** `<postern-chat data-relay="…">`: a bubble in the page's corner that opens into a chat. */
export class PosternChat extends HTMLElement {
  /** What holds for every element that does not say otherwise. */
  static defaults: Settings = {};

  #root = this.attachShadow({ mode: "open" });
  #updates: Settings = {};
  #context: Metadata | undefined;
  #visitor: Metadata | undefined;
  #identity = new Identity();
  /** Ends everything that runs for this element; absent while it is on no page. */
  #life: AbortController | undefined;
  /** Absent until there are words for it, too. */
  #widget: Widget | undefined;
  /** What the page has asked of the widget before it was there. */
  #asked: ((widget: Widget) => void)[] = [];
  #isDestroyed = false;
  /** What the visitor was at when the element last left a page. */
  #left: ViewState | undefined;
  #attachments: Widget["attachments"] = [];

  constructor() {
    super();
    this.#identity.addEventListener("refused", (event) => {
      if (event instanceof CustomEvent) this.#emit("identity", { error: event.detail });
    });
  }

  connectedCallback(): void {
    this.#start();
    // Whoever asked for the element in this very task is to be told as well.
    queueMicrotask(() => this.#emit("ready", undefined));
  }

  disconnectedCallback(): void {
    this.#stop();
    this.#root.replaceChildren();
  }

  open(): void {
    this.#ask((widget) => widget.view.open());
  }

  close(): void {
    this.#ask((widget) => widget.view.close());
  }

  toggle(): void {
    this.#ask(({ view }) => (view.isOpen ? view.close() : view.open()));
  }

  show(): void {
    this.hidden = false;
  }

  /** Takes the bubble away too, until `show`. */
  hide(): void {
    this.hidden = true;
  }

  /** Tells the relay by a `token` who the visitor is, and the agent who the page says it is. */
  identify(visitor: Metadata = {}): void {
    const { token, ...claims } = visitor;
    this.#visitor = Object.keys(claims).length > 0 ? claims : undefined;
    this.#identity.token = typeof token === "string" ? token : undefined;
  }

  /** Goes along with the messages that follow, in place of what was set before. */
  setContext(context: Metadata | undefined): void {
    this.#context = context;
  }

  /** Sends a message as the visitor would. */
  send(text: string): void {
    if (text.trim() !== "") this.#ask((widget) => widget.send(text.trim()));
  }

  /** Changes settings; those not named stay. */
  update(settings: Settings): void {
    this.#updates = { ...this.#updates, ...settings };
    this.#restart();
  }

  /** Forgets the conversation on this device, and begins a new one. */
  reset(): void {
    this.#ask((widget) => {
      widget.forget();
      this.#restart();
    });
  }

  /** Leaves the page, with nothing left running. */
  destroy(): void {
    this.#isDestroyed = true;
    this.remove();
  }

  get isDestroyed(): boolean {
    return this.#isDestroyed;
  }

  #start(): void {
    this.#life = new AbortController();
    const { signal } = this.#life;
    const settings = this.#settings;
    const wanted = wantedLanguage(settings);
    const show = () => {
      if (!signal.aborted) this.#show(signal);
    };
    if (isKnown(wanted)) show();
    else fetchTexts(relayAddress(settings.relay), wanted, signal).then(show);
  }

  #show(signal: AbortSignal): void {
    const options = readOptions(this.#settings);
    const emit = this.#emit.bind(this);
    const widget = new Widget(options, () => this.#metadata, this.#identity, emit, signal);
    this.#widget = widget;
    this.#root.adoptedStyleSheets = [sheet, ownSheet(options)];
    this.#root.replaceChildren(...widget.view.nodes);
    if (options.mode !== "popup") this.setAttribute("mode", options.mode);
    widget.view.resume(this.#left ?? { isOpen: widget.wasOpen, typed: "" });
    widget.attachments = this.#attachments;
    widget.start();
    for (const ask of this.#asked.splice(0)) this.#ask(ask);
  }

  #ask(ask: (widget: Widget) => void): void {
    if (this.#widget) ask(this.#widget);
    else if (this.#life) this.#asked.push(ask);
  }

  #stop(): void {
    if (this.#widget) {
      this.#left = this.#widget.view.state;
      this.#attachments = this.#widget.attachments;
    }
    this.#life?.abort();
    this.#life = undefined;
    this.#widget = undefined;
  }

  #restart(): void {
    if (!this.#life) return;
    this.#stop();
    this.#start();
  }

  get #settings(): Settings {
    const mode = this.getAttribute("mode") ?? undefined;
    const own = mode ? { ...this.dataset, mode } : this.dataset;
    return { ...window.PosternSettings, ...PosternChat.defaults, ...own, ...this.#updates };
  }

  get #metadata(): Metadata | undefined {
    const visitor = this.#visitor && { visitor: this.#visitor };
    return this.#context || visitor ? { ...this.#context, ...visitor } : undefined;
  }

  #emit<Name extends keyof Events>(name: Name, detail: Events[Name]): void {
    const options = { bubbles: true, composed: true, detail };
    this.dispatchEvent(new CustomEvent(`postern:${name}`, options));
  }
}
