/** Web Locks for tests, shared by the pages they are given to as by the tabs of a browser. */

interface Request {
  grant(): void;
  refuse(error: unknown): void;
}

export class TestLocks {
  /** Whoever holds a lock stands first. */
  #queues = new Map<string, Request[]>();

  async request(name: string, ...rest: unknown[]): Promise<unknown> {
    const work = rest.pop() as () => Promise<unknown>;
    const { signal, steal } = (rest.pop() ?? {}) as LockOptions;
    signal?.throwIfAborted();
    const queue = this.#queues.get(name) ?? [];
    this.#queues.set(name, queue);
    return new Promise((resolve, reject) => {
      const request: Request = {
        grant: () =>
          work()
            .then(resolve, reject)
            .finally(() => leave(queue, request)),
        refuse: reject,
      };
      if (steal) queue.shift()?.refuse(new DOMException("It was stolen.", "AbortError"));
      if (steal) queue.unshift(request);
      else queue.push(request);
      if (queue[0] === request) request.grant();
      signal?.addEventListener("abort", () => {
        if (queue[0] === request) return;
        leave(queue, request);
        reject(signal.reason);
      });
    });
  }
}

function leave(queue: Request[], request: Request): void {
  const place = queue.indexOf(request);
  if (place < 0) return;
  queue.splice(place, 1);
  if (place === 0) queue[0]?.grant();
}
