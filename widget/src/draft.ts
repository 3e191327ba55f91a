/** The reply that is being written: a row that grows piece by piece. There is one at most. */

import type { Row } from "./row.ts";
import type { Chunk, Entry } from "./wire.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** The rows with one more piece in them; undefined when something before that piece is missing. */
export function withChunk(rows: readonly Row[], chunk: Chunk): readonly Row[] | undefined {
  const { message_id: answers } = chunk;
  // A piece that comes late has nothing to add to what is there as a whole.
  const known = rows.findLast((row) => row.role === "agent" && row.answers === answers);
  if (known?.id) return rows;
  const draft = known ?? blank(answers);
  const next = grown(draft, chunk);
  if (!next) return;
  if (next.text === "") return withoutDraft(rows);
  if (known) return rows.map((row) => (row === known ? next : row));
  return [...withoutDraft(rows), next];
}

export function withoutDraft(rows: readonly Row[]): readonly Row[] {
  return rows.filter((row) => !isDraft(row));
}

/** The draft that this entry is the whole of. */
export function draftOf(entry: Entry, rows: readonly Row[]): Row | undefined {
  if (entry.role !== "agent") return;
  return rows.find((row) => isDraft(row) && row.answers === entry.message_id);
}

export function isDraft({ bytes }: Row): boolean {
  return bytes !== undefined;
}

function blank(answers: number): Row {
  const at = new Date().toISOString();
  return { name: `reply-to-${answers}`, role: "agent", text: "", at, answers, bytes: 0 };
}

function grown(draft: Row, { offset, text }: Chunk): Row | undefined {
  const { bytes = 0 } = draft;
  if (offset > bytes) return;
  const kept = offset === bytes ? draft.text : firstBytes(draft.text, offset);
  return { ...draft, text: kept + text, bytes: offset + encoder.encode(text).length };
}

function firstBytes(text: string, count: number): string {
  return decoder.decode(encoder.encode(text).subarray(0, count));
}
