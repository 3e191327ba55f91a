/** Which session this visitor is in, as all tabs of the browser agree on through the store. */

import type { Session, Store } from "./storage.ts";
import type { RelayError } from "./wire.ts";

/**
 * Tells by a `change` event that another session, or none, is the current one, and by a `forget` event
 * that the one before was another visitor's.
 */
export class SessionKeeper extends EventTarget {
  #store: Store;
  #announced: string | undefined;

  constructor(store: Store) {
    super();
    this.#store = store;
    this.#announced = store.session?.id;
  }

  get current(): Session | undefined {
    return this.#store.session;
  }

  /** What to show the relay: the session's token, else the one of an earlier session. */
  get token(): string | undefined {
    return this.#store.session?.token ?? this.#store.earlierToken;
  }

  /** Notes the session that a message was stored in; `token` is there when this opened it. */
  enter(id: string, token: string | undefined): void {
    const known = token ?? this.token;
    if (known) this.#store.session = { id, token: known };
    this.#store.earlierToken = undefined;
    this.sync();
  }

  /** Leaves the session whose token the relay refuses, unless that was done already. */
  leave(token: string, error: RelayError): void {
    if (this.token !== token) return;
    // Most 403 mean a good token for another session: it still tells who is coming back.
    const { isOtherVisitor } = error;
    const isGood = error.status === 403 && !isOtherVisitor && this.current !== undefined;
    this.#store.earlierToken = isGood ? token : undefined;
    if (isOtherVisitor) this.#store.foreignSession = this.current?.id;
    this.#store.session = undefined;
    this.sync();
  }

  /** Takes over what another tab, or this one, has written to the store. */
  sync(): void {
    const id = this.#store.session?.id;
    if (id === this.#announced) return;
    const isForeign = this.#announced && this.#announced === this.#store.foreignSession;
    this.#announced = id;
    this.dispatchEvent(new Event("change"));
    if (isForeign) this.dispatchEvent(new Event("forget"));
  }
}
