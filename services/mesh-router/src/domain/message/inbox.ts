/** Items that wait for their receiver's credit, oldest first, and what they weigh. */
export class Inbox<T extends { readonly sizeBytes: number }> {
  readonly #items = new Set<T>();
  #bytes = 0;

  get size(): number {
    return this.#items.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  add(item: T): void {
    this.#items.add(item);
    this.#bytes += item.sizeBytes;
  }

  /** Takes an item out. Idempotent. */
  delete(item: T): void {
    if (this.#items.delete(item)) this.#bytes -= item.sizeBytes;
  }

  clear(): void {
    this.#items.clear();
    this.#bytes = 0;
  }

  [Symbol.iterator](): Iterator<T> {
    return this.#items.values();
  }
}
