/** Remembers the latest messages that were handled: at least `keep` of them, at most twice as many.
 *
 * Two sets that take turns, and not one whose oldest entry is deleted: a set keeps the places of deleted entries until it is built anew,
 * and whoever looks for its oldest one walks over them (up to 26 µs for each message with 20 000 kept; test box, Node 20, 2026-11). */
export class HandledIds {
  readonly #keep: number;
  #latest = new Set<string>();
  #earlier = new Set<string>();

  constructor(keep: number) {
    this.#keep = keep;
  }

  has(key: string): boolean {
    return this.#latest.has(key) || this.#earlier.has(key);
  }

  add(key: string): void {
    if (this.#latest.size >= this.#keep) {
      this.#earlier = this.#latest;
      this.#latest = new Set();
    }
    this.#latest.add(key);
  }
}
