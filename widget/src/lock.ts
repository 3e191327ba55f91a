/** Lets one tab of a browser at a time do something. */

/** The browser's Web Locks, as far as they are needed here. */
export type Locks = Pick<LockManager, "request">;

export type Exclusively = <T>(work: () => Promise<T>) => Promise<T>;

/** Runs the work under a Web Lock of that name; without one where the page may have none. */
export function exclusivelyAs(name: string, locks: Locks | undefined): Exclusively {
  return async (work) => {
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
  };
}
