/** What outlives the page: the session, the unsent messages, and how far the visitor has read. */

import type { FileInfo, Metadata } from "./wire.ts";

export interface Session {
  readonly id: string;
  readonly token: string;
}

/** A file that goes with an unsent message. */
export interface UnsentFile extends FileInfo {
  /** The page that has its bytes, as long as the relay has not; until then its id is made up. */
  readonly page?: string;
}

/** A message on its way to the relay; kept until the relay has answered for it. */
export interface Unsent {
  /** Its idempotency key, and its name in the conversation. */
  readonly key: string;
  readonly text: string;
  readonly files?: readonly UnsentFile[];
  readonly metadata?: Metadata;
  /** When the visitor wrote it, RFC 3339. */
  readonly at: string;
  /** The newest entry known when it was written; the relay's id for it can only be higher. */
  readonly after: number;
  /** The session its first attempt named, null when it named none; absent before that attempt. */
  readonly addressee?: string | null;
  /** Why it will not be sent by itself any more. */
  readonly error?: string;
}

type Backing = Pick<Storage, "getItem" | "setItem" | "removeItem">;

/** Reads and writes through to the backing storage at every access, since other tabs do too. */
export class Store {
  readonly prefix: string;
  #backing: Backing;
  /** What the backing storage refused to take: it lives as long as the page. */
  #refused = new Map<string, string | null>();

  constructor(relay: string, backing: Backing) {
    this.prefix = `postern:${relay}:`;
    this.#backing = backing;
  }

  get session(): Session | undefined {
    const value = this.#read("session");
    return isSession(value) ? value : undefined;
  }

  set session(session: Session | undefined) {
    this.#write("session", session);
  }

  /** The token of a session that was left behind; it tells the relay who is coming back. */
  get earlierToken(): string | undefined {
    const value = this.#read("earlier-token");
    return typeof value === "string" ? value : undefined;
  }

  set earlierToken(token: string | undefined) {
    this.#write("earlier-token", token);
  }

  /** Oldest first. */
  get unsent(): readonly Unsent[] {
    const value = this.#read("unsent");
    return Array.isArray(value) ? value.filter(isUnsent) : [];
  }

  set unsent(messages: readonly Unsent[]) {
    this.#write("unsent", messages.length > 0 ? messages : undefined);
  }

  /** The id of the newest reply the visitor has seen; 0 before the first. */
  get seen(): number {
    const value = this.#read("seen");
    return typeof value === "number" ? value : 0;
  }

  set seen(id: number) {
    this.#write("seen", id);
  }

  /** Forgets everything. */
  clear(): void {
    for (const name of ["session", "earlier-token", "unsent", "seen"]) this.#write(name, undefined);
  }

  #read(name: string): unknown {
    const key = this.prefix + name;
    try {
      const text = this.#refused.has(key) ? this.#refused.get(key) : this.#backing.getItem(key);
      return text ? JSON.parse(text) : undefined;
    } catch {
      return undefined;
    }
  }

  #write(name: string, value: unknown): void {
    const key = this.prefix + name;
    const text = value === undefined ? null : JSON.stringify(value);
    try {
      if (text === null) this.#backing.removeItem(key);
      else this.#backing.setItem(key, text);
      this.#refused.delete(key);
    } catch {
      this.#refused.set(key, text);
    }
  }
}

/** The page's localStorage; where the browser forbids even to look at it, one that refuses all. */
export function pageStorage(): Backing {
  try {
    return localStorage;
  } catch {
    const refuse = () => {
      throw new Error("There is no storage here.");
    };
    return { getItem: refuse, setItem: refuse, removeItem: refuse };
  }
}

// What is read back may have been written by another version, or by anyone's hand.

function isSession(value: unknown): value is Session {
  return hasTypes(value, { id: "string", token: "string" });
}

function isUnsent(value: unknown): value is Unsent {
  return hasTypes(value, { key: "string", text: "string", at: "string", after: "number" });
}

function hasTypes(value: unknown, types: Record<string, string>): boolean {
  if (typeof value !== "object" || value === null) return false;
  const fields = value as Record<string, unknown>;
  return Object.entries(types).every(([name, type]) => typeof fields[name] === type);
}
