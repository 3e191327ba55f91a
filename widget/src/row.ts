/** One line of the conversation, and what it is made from. */

import type { Unsent } from "./unsent.ts";
import type { Entry, FileInfo, Rating, Role } from "./wire.ts";

export type Delivery = "sending" | "sent" | "failed";

/** Rows are replaced, never changed, so identity tells news. */
export interface Row {
  /** Names the row for as long as it is shown. */
  readonly name: string;
  readonly role: Role;
  readonly text: string;
  /** The files that go with it. */
  readonly files?: readonly FileInfo[] | undefined;
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
  /** The text's length in UTF-8, on a reply that is being written; absent on all others. */
  readonly bytes?: number;
  /** On a reply that the visitor stopped; absent on all others. */
  readonly isStopped?: true;
  /** Answers that the agent offers, on its reply. */
  readonly quickReplies?: readonly string[];
  /** What the visitor thinks of a reply, null before a word on it; absent where none is taken. */
  readonly rating?: Rating | null;
}

export function entryName(id: number | undefined): string {
  return `entry-${id}`;
}

export function entryRow(entry: Entry): Row {
  const { id, role, text, files, timestamp: at, message_id: answers, stopped } = entry;
  const { quick_replies: quickReplies = [], rating = null } = entry;
  const row: Row = { name: entryName(id), id, role, text, files, at, answers };
  if (role === "visitor") return { ...row, delivery: "sent" };
  const reply = role === "agent" ? { ...row, quickReplies, rating } : row;
  return stopped ? { ...reply, isStopped: true } : reply;
}

/** A row of a session that is over: the agent waits for nothing, and the relay takes no rating. */
export function pastRow({ quickReplies, rating, ...row }: Row): Row {
  return row;
}

/** The rows with these ratings, by the replies' ids, in place of their own. */
export function ratedRows(
  rows: readonly Row[],
  ratings: ReadonlyMap<number, Rating | null>,
): readonly Row[] {
  return rows.map((row) => {
    const rating = ratings.get(row.id ?? 0);
    return rating === undefined ? row : { ...row, rating };
  });
}

export function unsentRow({ key: name, text, files, at, error }: Unsent): Row {
  const row: Row = { name, role: "visitor", text, files, at, answers: null, delivery: "sending" };
  return error === undefined ? row : { ...row, delivery: "failed", error };
}

export function isUnsent({ role, id }: Row): boolean {
  return role === "visitor" && id === undefined;
}
