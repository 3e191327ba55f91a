/** Lets one tab of a browser at a time do something. */

/** The browser's Web Locks, as far as they are needed here. */
export type Locks = Pick<LockManager, "request">;

export type Exclusively = <T>(work: () => Promise<T>) => Promise<T>;

/**
 * Runs the work under a Web Lock of that name; where the page may have none, at least one work at a
 * time within this page.
 */
export function exclusivelyAs(name: string, locks: Locks | undefined): Exclusively {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const turn = last.then(() => locked(work));
    last = turn.catch(() => {});
    return turn;
  };

  async function locked<T>(work: () => Promise<T>): Promise<T> {
    if (!locks) return work();
    let granted = false;
    try {
      return await locks.request(name, () => {
        granted = true;
        return work();
      });
    } catch (error) {
      if (granted) throw error;
      return work();
    }
  }
}
