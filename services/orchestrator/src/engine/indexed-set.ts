/** A set whose members can also be reached by position, so that a few of many can be looked at without a copy. */
export class IndexedSet<T> implements Iterable<T> {
  readonly #items: T[] = [];
  readonly #positions = new Map<T, number>();
  #departures = 0;

  get size(): number {
    return this.#items.length;
  }

  /** How many members have left, ever. While it stays the same, positions do: members are added behind all others. */
  get departures(): number {
    return this.#departures;
  }

  /** The member at a position, 0 to size - 1. Positions change when members leave. */
  at(position: number): T {
    return this.#items[position] as T;
  }

  has(item: T): boolean {
    return this.#positions.has(item);
  }

  add(item: T): void {
    if (this.#positions.has(item)) return;
    this.#positions.set(item, this.#items.push(item) - 1);
  }

  /** Removes a member by putting the last one in its place. */
  delete(item: T): void {
    const position = this.#positions.get(item);
    if (position === undefined) return;
    const last = this.#items.pop() as T;
    this.#positions.delete(item);
    this.#departures += 1;
    if (last === item) return;
    this.#items[position] = last;
    this.#positions.set(last, position);
  }

  [Symbol.iterator](): Iterator<T> {
    return this.#items[Symbol.iterator]();
  }
}
