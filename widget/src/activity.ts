/** What goes on with the reply that the visitor waits for. */

import type { Row } from "./row.ts";
import type { Status } from "./wire.ts";

export interface Activity {
  /** The visitor's message whose reply is awaited, if one is. */
  readonly awaited: number | undefined;
  readonly phase: "working" | "retrying" | "stopping";
  /** What the agent is at, in its own words. */
  readonly progress: string | undefined;
  readonly isHostAway: boolean;
}

/** As the relay last told, `stopping` being the message whose reply the visitor stops. */
export function toldActivity(status: Status, stopping: number | undefined): Activity {
  const { host, message_id, state, progress } = status;
  const awaited = state === "failed" ? undefined : message_id;
  const isStopping = state === "cancelled" || isSame(awaited, stopping);
  const phase = state === "retrying" ? "retrying" : "working";
  return {
    awaited,
    phase: isStopping ? "stopping" : phase,
    progress,
    isHostAway: host === "away",
  };
}

/** As far as it can be seen from what has been said. */
export function seenActivity(rows: readonly Row[], stopping: number | undefined): Activity {
  const awaited = oldestUnanswered(rows);
  const phase = isSame(awaited, stopping) ? "stopping" : "working";
  return { awaited, phase, progress: undefined, isHostAway: false };
}

/** What is said of its own accord ends the waiting for whatever was said before it. */
function oldestUnanswered(rows: readonly Row[]): number | undefined {
  const answered = rows.flatMap(({ role, id, answers }) =>
    role === "visitor" || id === undefined ? [] : (answers ?? id),
  );
  const latest = Math.max(0, ...answered);
  return rows.find(({ id = 0, delivery }) => delivery === "sent" && id > latest)?.id;
}

function isSame(awaited: number | undefined, stopping: number | undefined): boolean {
  return awaited !== undefined && awaited === stopping;
}
