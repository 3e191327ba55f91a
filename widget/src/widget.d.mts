/** What `widget.mjs` offers. */

/** Every setting is optional; `relay` is needed unless the script line comes from the relay. */
export interface Settings {
  /** The relay's address. */
  relay?: string;
  /** The relay's name for the site that the page belongs to; needed where it serves several. */
  site?: string;
  title?: string;
  greeting?: string;
  placeholder?: string;
  /** Said while nobody is there to answer. */
  away?: string;
  /** Questions to begin with. */
  starters?: readonly string[];
  /** Whether a reply is heard. */
  sound?: boolean;
  /** Whether replies can be rated; they can if not told otherwise. */
  feedback?: "on" | "off";
  /** Whether visitors can attach files; they can if not told otherwise. */
  files?: "on" | "off";
  /** Whether a panel that was left open is open on the next page; it is if not told otherwise. */
  reopen?: "on" | "off";
  /** A CSS colour. */
  accent?: string;
  theme?: "light" | "dark" | "auto";
  position?: "left" | "right";
  mode?: "popup" | "inline" | "full-page";
  /** A BCP 47 tag; else the page's language, else the browser's. */
  lang?: string;
  dir?: "ltr" | "rtl";
  /** Words in place of the widget's own. */
  texts?: Record<string, string>;
}

type Metadata = Readonly<Record<string, unknown>>;

/** What the page can do, with an element or with `Postern`. */
interface Commands {
  open(): void;
  close(): void;
  toggle(): void;
  show(): void;
  /** Takes the bubble away too, until `show`. */
  hide(): void;
  /**
   * Tells who the visitor is: `token` is the word of the site's own server, for the relay to check;
   * the rest goes to the agent as the page's.
   */
  identify(visitor: Metadata | undefined): void;
  /** Changes settings; those not named stay. */
  update(settings: Settings): void;
  /** Forgets the conversation on this device, and begins a new one. */
  reset(): void;
  /** Sends a message as the visitor would. */
  send(text: string): void;
  /** Goes along with the messages that follow, in place of what was set before. */
  setContext(context: Metadata | undefined): void;
  /** Leaves the page, with nothing left running. */
  destroy(): void;
}

/** The custom element `<postern-chat>`. */
export declare class PosternChat extends HTMLElement implements Commands {
  open(): void;
  close(): void;
  toggle(): void;
  show(): void;
  hide(): void;
  identify(visitor: Metadata | undefined): void;
  update(settings: Settings): void;
  reset(): void;
  send(text: string): void;
  setContext(context: Metadata | undefined): void;
  destroy(): void;
}

/** The page's API; it acts on the page's element. */
export interface Api extends Commands {
  (command: string, ...rest: unknown[]): void;
  /** Listens for an event by its name without `postern:`. */
  on(event: string, listener: EventListener): void;
  off(event: string, listener: EventListener): void;
}

export declare const Postern: Api;

/** Puts the element on the page, unless there is one. */
export declare function embed(settings: Settings): PosternChat;

/** The details of the events that bubble from the element. */
export interface PosternEventMap {
  "postern:ready": CustomEvent<undefined>;
  "postern:open": CustomEvent<undefined>;
  "postern:close": CustomEvent<undefined>;
  /** The relay does not take the visitor's token, or misses one: identify again. */
  "postern:identity": CustomEvent<{ error: string }>;
  /** The visitor has sent a message. */
  "postern:send": CustomEvent<{ text: string }>;
  /** A reply has come in, or a notice. */
  "postern:message": CustomEvent<{
    id: number;
    role: "agent" | "operator" | "system" | "visitor";
    text: string;
    /** RFC 3339. */
    timestamp: string;
  }>;
  /** The visitor has rated a reply, or, with null, taken that back. */
  "postern:feedback": CustomEvent<{ id: number; rating: "up" | "down" | null }>;
  /** How many replies the visitor has not seen. */
  "postern:unread": CustomEvent<{ count: number }>;
}

declare global {
  interface HTMLElementTagNameMap {
    "postern-chat": PosternChat;
  }
  interface HTMLElementEventMap extends PosternEventMap {}
  interface WindowEventMap extends PosternEventMap {}
}
