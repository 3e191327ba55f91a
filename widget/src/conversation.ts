/** What has been said and what is still to be sent: the state that the view shows. */

import { type Activity, seenActivity, toldActivity } from "./activity.ts";
import { draftOf, isDraft, withChunk, withoutDraft } from "./draft.ts";
import { newKey } from "./keys.ts";
import { entryName, entryRow, isUnsent, pastRow, type Row, ratedRows, unsentRow } from "./row.ts";
import type { Store } from "./storage.ts";
import type { Unsent, UnsentFile, UnsentMessages } from "./unsent.ts";
import type { Chunk, Entry, Metadata, Rating, RelayError, Status } from "./wire.ts";

/**
 * Tells of each change by a `change` event, and of each entry that the host sent by a `reply` event.
 *
 * The unsent messages stand here as rows too, in the place where they were written, and stay in it
 * when they are confirmed.
 */
export class Conversation extends EventTarget {
  /** Whether the relay has older entries than those shown. */
  hasEarlier = false;
  /** What the visitor thinks of replies and the relay may not know yet, by their ids. */
  readonly unsentRatings = new Map<number, Rating | null>();

  #store: Store;
  #unsent: UnsentMessages;
  /** Rows of sessions that are over; their ids mean nothing to the present one. */
  #past: readonly Row[] = [];
  #rows: readonly Row[] = [];
  /** What the relay last told; absent while it tells nothing. */
  #status: Status | undefined;
  #stopping: number | undefined;
  #delay: RelayError | undefined;

  constructor(store: Store, unsent: UnsentMessages) {
    super();
    this.#store = store;
    this.#unsent = unsent;
  }

  get rows(): readonly Row[] {
    return this.#past.length > 0 ? [...this.#past, ...this.#rows] : this.#rows;
  }

  /** The id of the oldest entry, from which to ask for earlier ones. */
  get oldest(): number | undefined {
    return this.#rows.find((row) => row.id !== undefined)?.id;
  }

  /** The message whose reply the visitor stops, if any. */
  get stopping(): number | undefined {
    return this.#stopping;
  }

  set stopping(id: number | undefined) {
    this.#stopping = id;
    this.#changed();
  }

  /** Why the relay takes the next message later, if it does. */
  get delay(): RelayError | undefined {
    return this.#delay;
  }

  set delay(delay: RelayError | undefined) {
    if (delay === this.#delay) return;
    this.#delay = delay;
    this.#changed();
  }

  get status(): Status | undefined {
    return this.#status;
  }

  /** All there is of the reply that is being written, if one is. */
  get draft(): Chunk | undefined {
    const draft = this.#rows.find(isDraft);
    return draft?.answers ? { message_id: draft.answers, offset: 0, text: draft.text } : undefined;
  }

  get activity(): Activity {
    if (this.#status) return toldActivity(this.#status, this.#stopping);
    return seenActivity(this.#rows, this.#stopping);
  }

  /** How many replies came that the visitor has not seen. */
  get unread(): number {
    const { seen } = this.#store;
    return this.#replies.filter(({ id = 0 }) => id > seen).length;
  }

  /** Notes that the visitor has all replies before their eyes. */
  markSeen(): void {
    const newest = newestId(this.#replies);
    if (newest <= this.#store.seen) return;
    this.#store.seen = newest;
    this.#changed();
  }

  /** Takes a new message of the visitor, to be sent. */
  add(text: string, metadata?: Metadata, files: readonly UnsentFile[] = []): void {
    const after = Math.max(this.#store.seen, newestId(this.#rows));
    const message: Unsent = {
      key: newKey(),
      text,
      at: this.#now(),
      after,
      ...(files.length > 0 && { files }),
      ...(metadata && { metadata }),
    };
    this.#unsent.add(message);
    this.#rows = [...this.#rows, unsentRow(message)];
    this.#changed();
  }

  /**
   * The message to be sent next, if any; one that waits for its files lets none overtake it. One that
   * was begun goes before an older one of another tab: two that name no session would open two.
   */
  next(): Unsent | undefined {
    const waiting = this.#unsent.all.filter(({ error }) => error === undefined);
    const message = waiting.find(({ addressee }) => addressee !== undefined) ?? waiting[0];
    return message?.files?.some(({ page }) => page) ? undefined : message;
  }

  /** The pages that have files which the relay has not, and for which messages wait. */
  get pagesWithFiles(): readonly string[] {
    const files = this.#unsent.all.flatMap((message) => message.files ?? []);
    return files.flatMap(({ page }) => page ?? []);
  }

  /** Notes that the relay has stored a file of an unsent message, for this session only. */
  fileStored(key: string, id: string, session: string): void {
    for (const { key: message, files } of this.#unsent.all) {
      if (!files?.some((file) => file.id === key)) continue;
      const stored = files.map(({ page, ...file }) => {
        if (file.id === key) return { ...file, id };
        return page ? { ...file, page } : file;
      });
      this.#revise(message, (unsent) => ({ ...unsent, files: stored, addressee: session }));
    }
  }

  /** Fails the messages of files that were refused, or lost; the others can be sent without them. */
  dropFiles(isDropped: (file: UnsentFile) => boolean, why?: string): void {
    for (const { key, files = [] } of this.#unsent.all) {
      const dropped = files.filter(isDropped);
      if (dropped.length === 0) continue;
      const left = files.filter((file) => !dropped.includes(file));
      this.#revise(key, (message) => ({ ...message, files: left }));
      this.fail(key, [...dropped.map(({ name }) => name), ...(why ? [why] : [])].join(", "));
    }
  }

  /** Fixes which session a message names before its first attempt, so that repeats are the same. */
  address(key: string, session: string | null): void {
    this.#revise(key, (message) => ({ ...message, addressee: session }));
  }

  /** Notes that the relay has stored a message, under this id. */
  confirm(key: string, id: number): void {
    this.#delay = undefined;
    this.#unsent.replace(key);
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
  fail(key: string, error: string, reason: Pick<Unsent, "isUnidentified"> = {}): void {
    this.#delay = undefined;
    if (this.#settled(key)) return;
    const message = this.#revise(key, (unsent) => ({ ...unsent, error, ...reason }));
    if (!message) return;
    this.#rows = this.#rows.map((row) => (row.name === key ? unsentRow(message) : row));
    this.#changed();
  }

  /** Makes a message new, with a key of its own: its session is over. */
  readdress(key: string): void {
    if (this.#settled(key)) return;
    const message = this.#revise(key, ({ addressee, error, files, ...message }) => ({
      ...message,
      key: newKey(),
      // They were given to the session that is over.
      ...(files && { error: files.map(({ name }) => name).join(", ") }),
    }));
    if (!message) return;
    this.#rows = this.#rows.map((row) => (row.name === key ? unsentRow(message) : row));
    this.#changed();
  }

  /** Sends a message that failed once more, as a new one at the end. */
  retry(key: string): void {
    const message = this.#unsent.get(key);
    if (!message?.error) return;
    this.#unsent.replace(key);
    this.#rows = this.#rows.filter((row) => row.name !== key);
    const { text, metadata, files } = message;
    if (text || files?.length) this.add(text, metadata, files);
    else this.#changed();
  }

  /** Sends once more what was refused for want of an identity. */
  retryUnidentified(): void {
    for (const { key, isUnidentified } of this.#unsent.all) if (isUnidentified) this.retry(key);
  }

  /** Takes what the visitor thinks of a reply, to be sent; null takes back what was said before. */
  rate(id: number, rating: Rating | null): void {
    this.unsentRatings.set(id, rating);
    this.#rows = ratedRows(this.#rows, this.unsentRatings);
    this.#changed();
  }

  /**
   * Takes over what other tabs have done to the unsent messages; what was done here is stored by
   * the time it resolves.
   */
  async sync(): Promise<void> {
    await this.#unsent.sync();
    const kept = this.#rows.filter((row) => !isUnsent(row) || this.#unsent.get(row.name));
    const shown = new Set(kept.map((row) => row.name));
    const rows = kept.map((row) => {
      const message = isUnsent(row) ? this.#unsent.get(row.name) : undefined;
      return message && message.error !== row.error ? unsentRow(message) : row;
    });
    const added = this.#unsent.all.filter((message) => !shown.has(message.key));
    this.#rows = [...rows, ...added.map(unsentRow)];
    this.#changed();
  }

  /** Takes an entry that was pushed; one that is known already changes nothing. */
  receive(entry: Entry): void {
    if (this.#rows.some((row) => row.id === entry.id)) return;
    this.#tellReply(entry);
    const early = this.#ownUnsent(entry) ?? draftOf(entry, this.#rows);
    if (early) {
      const stored: Row = { ...entryRow(entry), name: early.name };
      this.#rows = this.#rows.map((row) => (row === early ? stored : row));
    } else {
      this.#rows = [...this.#rows, entryRow(entry)];
    }
    // The relay tells in a moment what is awaited next.
    const { host, message_id } = this.#status ?? {};
    if (host && message_id === entry.message_id) this.#status = { host };
    this.#changed();
  }

  /** Takes a piece of a reply that is being written; false when one before it is missing. */
  receiveChunk(chunk: Chunk): boolean {
    const rows = withChunk(this.#rows, chunk);
    if (!rows) return false;
    this.#rows = rows;
    this.#changed();
    return true;
  }

  /** Takes what the relay tells in place of what it told before. */
  receiveStatus(status: Status): void {
    this.#status = status;
    const { message_id, state } = status;
    const isWritten = state === "working" || state === "cancelled";
    const draft = this.#rows.find(isDraft);
    if (!isWritten || draft?.answers !== message_id) this.#rows = withoutDraft(this.#rows);
    this.#changed();
  }

  /** Notes that the relay tells nothing any more. */
  forgetStatus(): void {
    this.#status = undefined;
    this.#changed();
  }

  /** Drops what is known of a reply that is being written. */
  forgetDraft(): void {
    this.#rows = withoutDraft(this.#rows);
    this.#changed();
  }

  #tellReply(entry: Entry): void {
    if (entry.role !== "visitor") this.dispatchEvent(new CustomEvent("reply", { detail: entry }));
  }

  /** Takes the newest page of the transcript in place of what was shown. */
  restore(entries: readonly Entry[], hasEarlier: boolean): void {
    const names = new Map(this.#rows.map((row) => [row.id, row.name]));
    const page: Row[] = [];
    for (const entry of entries) {
      // What the visitor has read before, or this page has shown, is no news.
      if (entry.id > this.#store.seen && !names.has(entry.id)) this.#tellReply(entry);
      const early = this.#ownUnsent(entry, page) ?? draftOf(entry, this.#rows);
      const name = names.get(entry.id) ?? early?.name;
      page.push(name ? { ...entryRow(entry), name } : entryRow(entry));
    }
    const end = page.at(-1)?.id ?? 0;
    const shown = new Set(page.map((row) => row.name));
    const newer = (row: Row) => !shown.has(row.name) && (row.id ?? Infinity) > end;
    this.#rows = ratedRows([...page, ...this.#rows.filter(newer)], this.unsentRatings);
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
    const said = this.#rows.filter((row) => row.id !== undefined);
    this.#past = [...this.#past, ...said.map(pastRow)];
    this.#rows = this.#rows.filter(isUnsent);
    this.#status = undefined;
    this.#stopping = undefined;
    this.unsentRatings.clear();
    this.hasEarlier = false;
    this.#store.seen = 0;
    this.#changed();
  }

  /** Shows no more what was said in sessions that are over: it is not this visitor's. */
  forgetPast(): void {
    this.#past = [];
    this.#changed();
  }

  /**
   * The unsent message that this entry must be: its answer is still on the way, or was lost.
   * Without this, a stream faster than the answer would show it twice.
   */
  #ownUnsent(entry: Entry, taken: readonly Row[] = []): Row | undefined {
    if (entry.role !== "visitor") return;
    const names = new Set(
      this.#unsent.all
        .filter(({ text, after }) => text === entry.text && entry.id > after)
        .map(({ key }) => key),
    );
    for (const row of taken) names.delete(row.name);
    return this.#rows.find((row) => row.id === undefined && names.has(row.name));
  }

  /** Drops an unsent message that the relay is known to have stored; tells whether it was one. */
  #settled(key: string): boolean {
    const settled = this.rows.some((row) => row.name === key && row.id !== undefined);
    if (settled) this.#unsent.replace(key);
    return settled;
  }

  #revise(key: string, change: (message: Unsent) => Unsent): Unsent | undefined {
    const message = this.#unsent.get(key);
    const revised = message && change(message);
    if (revised) this.#unsent.replace(key, revised);
    return revised;
  }

  /** Later than when any unsent message was written, so that their order can be told. */
  #now(): string {
    const latest = Date.parse(this.#unsent.all.at(-1)?.at ?? "") || 0;
    return new Date(Math.max(Date.now(), latest + 1)).toISOString();
  }

  get #replies(): readonly Row[] {
    return this.#rows.filter(({ role }) => role !== "visitor");
  }

  #changed(): void {
    this.dispatchEvent(new Event("change"));
  }
}

function newestId(rows: readonly Row[]): number {
  return rows.reduce((newest, { id = 0 }) => Math.max(newest, id), 0);
}
