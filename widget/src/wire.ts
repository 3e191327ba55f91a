/** The relay's bodies as the visitor's side sees them (wire contract, version 1). */

export type Role = "visitor" | "agent" | "operator" | "system";

/** Thumbs up or down. */
export type Rating = "up" | "down";

/** A file that goes with an entry. */
export interface FileInfo {
  readonly id: string;
  readonly name: string;
  /** Its media type. */
  readonly type: string;
  readonly size_bytes: number;
}

/** One line of the transcript. */
export interface Entry {
  readonly id: number;
  readonly role: Role;
  readonly text: string;
  /** The visitor's message that a reply answers, or null. */
  readonly message_id: number | null;
  /** RFC 3339. */
  readonly timestamp: string;
  /** On a reply that the visitor stopped: its text is what had been written so far, if anything. */
  readonly stopped?: true;
  /** Answers that the agent offers, on a reply. */
  readonly quick_replies?: readonly string[];
  readonly files?: readonly FileInfo[];
  /** What the visitor thinks of a reply; in transcripts only. */
  readonly rating?: Rating;
}

/** A piece of a reply that is being written: it follows the reply's first `offset` bytes. */
export interface Chunk {
  readonly message_id: number;
  /** In bytes of UTF-8; 0 begins the reply anew. */
  readonly offset: number;
  readonly text: string;
}

/** How it stands with the host and, where something waits, with the oldest unanswered message. */
export interface Status {
  readonly host: "connected" | "away";
  readonly message_id?: number;
  readonly state?: "waiting" | "working" | "retrying" | "failed" | "cancelled";
  /** What the agent is at, in its own words. */
  readonly progress?: string;
}

/** What a page lets go along with a message; the relay hands it to the agent as it is. */
export type Metadata = Readonly<Record<string, unknown>>;

/** The body of `POST /messages`; without `session_id` it opens a session. */
export interface NewMessage {
  readonly session_id?: string;
  readonly message: string;
  /** The ids of files that the relay has stored in this session. */
  readonly files?: readonly string[];
  readonly metadata?: Metadata;
  /** A token of the site's server that says who the visitor is. */
  readonly identity?: string;
}

/** The work that a site asks for before it opens a session. */
export interface Challenge {
  readonly token: string;
  /** How the SHA-256 of `<Idempotency-Key>:<number>` begins, as a number of four bytes. */
  readonly hash: number;
  /** The number is below. */
  readonly max: number;
}

export interface Proof {
  readonly token: string;
  readonly number: number;
}

export interface Accepted {
  readonly message_id: number;
  readonly session_id: string;
  /** Only in the answer that opens a session. */
  readonly session_token?: string;
}

/** The answer to `POST /sessions`. */
export interface SessionOpened {
  readonly session_id: string;
  readonly session_token: string;
}

export interface TranscriptPage {
  /** Oldest first. */
  readonly messages: readonly Entry[];
  /** Where the event stream is to go on from. */
  readonly cursor: string;
  readonly has_more: boolean;
}

export interface Replies {
  readonly responses: readonly Entry[];
  readonly cursor: string;
}

/** An answer that is not success; its message is the relay's sentence for a person. */
export class RelayError extends Error {
  constructor(
    readonly status: number,
    /** The relay's stable name for the error; empty when something else answered in its place. */
    readonly type: string,
    sentence: string,
    readonly retryAfterMs: number,
    /** What the relay wants computed first. */
    readonly challenge?: Challenge,
  ) {
    super(sentence);
  }

  /** The relay no longer accepts the session's token. */
  get refusesSession(): boolean {
    return this.#isForbidden && this.type !== "" && !this.refusesIdentity;
  }

  /** The relay does not believe, or misses, the word of the site's server on who the visitor is. */
  get refusesIdentity(): boolean {
    return this.type === "invalid_identity";
  }

  /** The session is that of somebody else, who used this device before. */
  get isOtherVisitor(): boolean {
    return this.type === "other_visitor";
  }

  /** The relay takes the call later. */
  get asksToWait(): boolean {
    return this.status === 429;
  }

  /** The same call would get the same answer again. */
  get isFinal(): boolean {
    const { status } = this;
    if (this.#isForbidden) return this.type !== "";
    return status >= 400 && status < 500 && status !== 408 && status !== 425 && !this.asksToWait;
  }

  get #isForbidden(): boolean {
    return this.status === 401 || this.status === 403;
  }
}

/** How long the relay asked to be left alone, in milliseconds; 0 when it did not. */
export function retryAfterMs(error: unknown): number {
  return error instanceof RelayError ? error.retryAfterMs : 0;
}
