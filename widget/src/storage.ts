/** What outlives the page and is read at once: the session, and how far the visitor has read. */

export interface Session {
  readonly id: string;
  readonly token: string;
}

type Backing = Pick<Storage, "getItem" | "setItem" | "removeItem">;

/** Reads and writes through to the backing storage at every access, since other tabs do too. */
export class Store {
  readonly prefix: string;
  #backing: Backing;
  /** What the backing storage refused to take: it lives as long as the page. */
  #refused = new Map<string, string | null>();

  /** Each site of a relay has its own. */
  constructor(relay: string, site: string | undefined, backing: Backing) {
    this.prefix = site ? `postern:${relay}:${site}:` : `postern:${relay}:`;
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

  /** The id of a session that turned out to be another visitor's than is here now. */
  get foreignSession(): unknown {
    return this.#read("foreign");
  }

  set foreignSession(id: string | undefined) {
    this.#write("foreign", id);
  }

  /** The id of the newest reply the visitor has seen; 0 before the first. */
  get seen(): number {
    const value = this.#read("seen");
    return typeof value === "number" ? value : 0;
  }

  set seen(id: number) {
    this.#write("seen", id);
  }

  /** The messages that go to IndexedDB just now: a page that ends before they are there leaves them here. */
  get adding(): readonly unknown[] {
    const value = this.#read("adding");
    return Array.isArray(value) ? value : [];
  }

  set adding(messages: readonly unknown[]) {
    this.#write("adding", messages.length > 0 ? messages : undefined);
  }

  /** Whether the panel is open; asked of a storage that each tab has for itself. */
  get isOpen(): boolean {
    return this.#read("open") === true;
  }

  set isOpen(isOpen: boolean) {
    this.#write("open", isOpen);
  }

  /** Forgets everything. */
  clear(): void {
    for (const name of ["session", "earlier-token", "foreign", "seen", "adding"])
      this.#write(name, undefined);
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

/** A storage of the page; where the browser forbids even to look at it, one that refuses all. */
export function pageStorage(kind: "localStorage" | "sessionStorage"): Backing {
  try {
    return window[kind];
  } catch {
    const refuse = () => {
      throw new Error("There is no storage here.");
    };
    return { getItem: refuse, setItem: refuse, removeItem: refuse };
  }
}

function isSession(value: unknown): value is Session {
  return hasTypes(value, { id: "string", token: "string" });
}

/** What is read back may have been written by another version, or by anyone's hand. */
export function hasTypes(value: unknown, types: Record<string, string>): boolean {
  if (typeof value !== "object" || value === null) return false;
  const fields = value as Record<string, unknown>;
  return Object.entries(types).every(([name, type]) => typeof fields[name] === type);
}
