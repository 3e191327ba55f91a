/** Lets one tab of a browser at a time do something. */

export type Exclusively = <T>(work: () => Promise<T>) => Promise<T>;

/** Runs the work under a Web Lock of that name; without one where the page may have none. */
export function exclusivelyAs(name: string): Exclusively {
  return async (work) => {
    if (!navigator.locks) return work();
    let granted = false;
    try {
      return await navigator.locks.request(name, () => {
        granted = true;
        return work();
      });
    } catch (error) {
      if (granted) throw error;
      return work();
    }
  };
}
