/** Who the site's own server says the visitor is: a token that the page was given, never stored. */

/**
 * Tells by a `change` event that the page has said something new, and by a `refused` event, whose
 * detail is the relay's sentence, that it is to do so.
 */
export class Identity extends EventTarget {
  #token: string | undefined;
  /** The session whose visitor it was taken for. */
  #session: string | undefined;

  get token(): string | undefined {
    return this.#token;
  }

  set token(token: string | undefined) {
    this.#token = token;
    this.#session = undefined;
    this.dispatchEvent(new Event("change"));
  }

  /** What a call in this session has to show, if anything; null stands for a session to be opened. */
  shownIn(session: string | null): string | undefined {
    return session !== null && session === this.#session ? undefined : this.#token;
  }

  /** Notes that a call that showed this was answered in this session. */
  take(token: string | undefined, session: string): void {
    if (token && token === this.#token) this.#session = session;
  }

  /** Drops what the relay does not believe; false when the page has said something new since. */
  refuse(token: string | undefined, sentence: string): boolean {
    if (this.#token && token !== this.#token) return false;
    this.#token = undefined;
    this.dispatchEvent(new CustomEvent("refused", { detail: sentence }));
    return true;
  }
}
