/** What has been said and what is still to be sent: the state that the view shows. */

import { newKey } from "./keys.ts";
import type { Store, Unsent } from "./storage.ts";
import type { Entry, Role } from "./wire.ts";

export type Delivery = "sending" | "sent" | "failed";

/** One line of the conversation. Rows are replaced, never changed, so identity tells news. */
export interface Row {
  /** Names the row for as long as it is shown. */
  readonly name: string;
  readonly role: Role;
  readonly text: string;
  /** RFC 3339. */
  readonly at: string;
  /** The relay's id; absent until the relay is known to have stored it. */
  readonly id?: number;
  /** The visitor's message that this replies to, or null. */
  readonly answers: number | null;
  /** How far one of the visitor's own messages has come; absent on all others. */
  readonly delivery?: Delivery;
  /** Why the delivery failed. */
  readonly error?: string;
}

/**
 * Tells of each change by a `change` event.
 *
 * The store holds the unsent messages; they stand here as rows too, in the place where they were
 * written, and stay in it when they are confirmed.
 */
export class Conversation extends EventTarget {
  /** Whether the relay has older entries than those shown. */
  hasEarlier = false;

  #store: Store;
  /** Rows of sessions that are over; their ids mean nothing to the present one. */
  #past: readonly Row[] = [];
  #rows: readonly Row[] = [];

  constructor(store: Store) {
    super();
    this.#store = store;
    this.#rows = store.unsent.map(unsentRow);
  }

  get rows(): readonly Row[] {
    return [...this.#past, ...this.#rows];
  }

  /** The id of the oldest entry, from which to ask for earlier ones. */
  get oldest(): number | undefined {
    return this.#rows.find((row) => row.id !== undefined)?.id;
  }

  /** Whether a message has arrived and its reply has not. */
  get isWaiting(): boolean {
    const last = this.#rows.findLastIndex((row) => row.delivery === "sent");
    const id = this.#rows[last]?.id;
    if (id === undefined) return false;
    const replies = this.#rows.slice(last + 1).filter((row) => row.role !== "visitor");
    return !replies.some((row) => row.answers === null || row.answers >= id);
  }

  /** How many replies came that the visitor has not seen. */
  get unread(): number {
    return this.#replyIds().filter((id) => id > this.#store.seen).length;
  }

  /** Notes that the visitor has all replies before their eyes. */
  markSeen(): void {
    const newest = Math.max(0, ...this.#replyIds());
    if (newest <= this.#store.seen) return;
    this.#store.seen = newest;
    this.#changed();
  }

  /** Takes a new message of the visitor, to be sent. */
  add(text: string): void {
    const after = Math.max(this.#store.seen, ...this.#rows.map((row) => row.id ?? 0));
    const message = { key: newKey(), text, at: new Date().toISOString(), after };
    this.#store.unsent = [...this.#store.unsent, message];
    this.#rows = [...this.#rows, unsentRow(message)];
    this.#changed();
  }

  /** The message to be sent next, if any. */
  next(): Unsent | undefined {
    return this.#store.unsent.find((message) => message.error === undefined);
  }

  /** Fixes which session a message names before its first attempt, so that repeats are the same. */
  address(key: string, session: string | null): void {
    this.#revise(key, (message) => ({ ...message, addressee: session }));
  }

  /** Notes that the relay has stored a message, under this id. */
  confirm(key: string, id: number): void {
    this.#drop(key);
    const row = this.#rows.find(({ name }) => name === key);
    if (!row) return;
    const confirmed: Row = { ...row, id, delivery: "sent" };
    const others = this.#rows.filter((other) => other.id !== id || other === row);
    if (row.id === undefined || row.id === id) {
      this.#rows = others.map((other) => (other === row ? confirmed : other));
    } else {
      // It had been taken for another message with the same text, which is to be shown as well.
      const mistaken: Row = { ...row, name: entryName(row.id) };
      this.#rows = [...others.map((other) => (other === row ? mistaken : other)), confirmed];
    }
    this.#changed();
  }

  /** Notes that a message was refused for good. */
  fail(key: string, error: string): void {
    if (this.#settled(key)) return;
    const message = this.#revise(key, (unsent) => ({ ...unsent, error }));
    if (!message) return;
    this.#rows = this.#rows.map((row) => (row.name === key ? unsentRow(message) : row));
    this.#changed();
  }

  /** Makes a message new, with a key of its own: its session is over. */
  readdress(key: string): void {
    if (this.#settled(key)) return;
    const message = this.#revise(key, ({ text, at, after }) => ({
      key: newKey(),
      text,
      at,
      after,
    }));
    if (!message) return;
    this.#rows = this.#rows.map((row) => (row.name === key ? unsentRow(message) : row));
    this.#changed();
  }

  /** Sends a message that failed once more, as a new one at the end. */
  retry(key: string): void {
    const message = this.#store.unsent.find((unsent) => unsent.key === key);
    if (!message?.error) return;
    this.#drop(key);
    this.#rows = this.#rows.filter((row) => row.name !== key);
    this.add(message.text);
  }

  /** Takes over what other tabs have done to the unsent messages. */
  sync(): void {
    const unsent = new Map(this.#store.unsent.map((message) => [message.key, message]));
    const kept = this.#rows.filter((row) => row.id !== undefined || unsent.has(row.name));
    const shown = new Set(kept.map((row) => row.name));
    const rows = kept.map((row) => {
      const message = row.id === undefined ? unsent.get(row.name) : undefined;
      return message && message.error !== row.error ? unsentRow(message) : row;
    });
    const added = [...unsent.values()].filter((message) => !shown.has(message.key));
    this.#rows = [...rows, ...added.map(unsentRow)];
    this.#changed();
  }

  /** Takes an entry that was pushed; one that is known already changes nothing. */
  receive(entry: Entry): void {
    if (this.#rows.some((row) => row.id === entry.id)) return;
    const own = this.#ownUnsent(entry);
    if (own) {
      const stored: Row = { ...entryRow(entry), name: own.name };
      this.#rows = this.#rows.map((row) => (row === own ? stored : row));
    } else {
      this.#rows = [...this.#rows, entryRow(entry)];
    }
    this.#changed();
  }

  /** Takes the newest page of the transcript in place of what was shown. */
  restore(entries: readonly Entry[], hasEarlier: boolean): void {
    const names = new Map(this.#rows.map((row) => [row.id, row.name]));
    const page: Row[] = [];
    for (const entry of entries) {
      const name = names.get(entry.id) ?? this.#ownUnsent(entry, page)?.name;
      page.push(name ? { ...entryRow(entry), name } : entryRow(entry));
    }
    const end = page.at(-1)?.id ?? 0;
    const shown = new Set(page.map((row) => row.name));
    const newer = (row: Row) => !shown.has(row.name) && (row.id ?? Infinity) > end;
    this.#rows = [...page, ...this.#rows.filter(newer)];
    this.hasEarlier = hasEarlier;
    this.#changed();
  }

  /** Takes the page before the oldest entry. */
  prepend(entries: readonly Entry[], hasEarlier: boolean): void {
    const known = new Set(this.#rows.map((row) => row.id));
    const added = entries.filter((entry) => !known.has(entry.id));
    this.#rows = [...added.map(entryRow), ...this.#rows];
    this.hasEarlier = hasEarlier;
    this.#changed();
  }

  /** Leaves the session: what was said stays shown, what is unsent stays to be sent. */
  leaveSession(): void {
    this.#past = [...this.#past, ...this.#rows.filter((row) => row.id !== undefined)];
    this.#rows = this.#rows.filter((row) => row.id === undefined);
    this.hasEarlier = false;
    this.#store.seen = 0;
    this.#changed();
  }

  /**
   * The unsent message that this entry must be: its answer is still on the way, or was lost.
   * Without this, a stream faster than the answer would show it twice.
   */
  #ownUnsent(entry: Entry, taken: readonly Row[] = []): Row | undefined {
    if (entry.role !== "visitor") return;
    const names = new Set(
      this.#store.unsent
        .filter(({ text, after }) => text === entry.text && entry.id > after)
        .map(({ key }) => key),
    );
    for (const row of taken) names.delete(row.name);
    return this.#rows.find((row) => row.id === undefined && names.has(row.name));
  }

  /** Drops an unsent message that the relay is known to have stored; tells whether it was one. */
  #settled(key: string): boolean {
    const settled = this.rows.some((row) => row.name === key && row.id !== undefined);
    if (settled) this.#drop(key);
    return settled;
  }

  #drop(key: string): void {
    this.#store.unsent = this.#store.unsent.filter((message) => message.key !== key);
  }

  #revise(key: string, change: (message: Unsent) => Unsent): Unsent | undefined {
    let revised: Unsent | undefined;
    this.#store.unsent = this.#store.unsent.map((message) => {
      if (message.key !== key) return message;
      revised = change(message);
      return revised;
    });
    return revised;
  }

  #replyIds(): number[] {
    return this.#rows.flatMap((row) => (row.role === "visitor" ? [] : (row.id ?? [])));
  }

  #changed(): void {
    this.dispatchEvent(new Event("change"));
  }
}

function entryName(id: number | undefined): string {
  return `entry-${id}`;
}

function entryRow(entry: Entry): Row {
  const { id, role, text, timestamp: at, message_id: answers } = entry;
  const row: Row = { name: entryName(id), id, role, text, at, answers };
  return role === "visitor" ? { ...row, delivery: "sent" } : row;
}

function unsentRow({ key, text, at, error }: Unsent): Row {
  const row: Row = { name: key, role: "visitor", text, at, answers: null, delivery: "sending" };
  return error === undefined ? row : { ...row, delivery: "failed", error };
}
