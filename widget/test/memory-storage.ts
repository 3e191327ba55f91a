/** A localStorage for tests; it can be full. */

export class MemoryStorage {
  isFull = false;
  #items = new Map<string, string>();

  get size(): number {
    return this.#items.size;
  }

  get texts(): string[] {
    return [...this.#items.values()];
  }

  getItem(key: string): string | null {
    return this.#items.get(key) ?? null;
  }

  setItem(key: string, value: string): void {
    if (this.isFull) throw new DOMException("The quota is used up.", "QuotaExceededError");
    this.#items.set(key, value);
  }

  removeItem(key: string): void {
    this.#items.delete(key);
  }
}
