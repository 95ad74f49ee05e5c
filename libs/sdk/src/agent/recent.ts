/** The last values that were added, at most `max`. */
export class Recent<T> {
  readonly #max: number;
  #values: T[] = [];
  #next = 0;

  constructor(max: number) {
    this.#max = max;
  }

  push(value: T): void {
    this.#values[this.#next] = value;
    this.#next = (this.#next + 1) % this.#max;
  }

  /** Oldest first. */
  values(): T[] {
    return [...this.#values.slice(this.#next), ...this.#values.slice(0, this.#next)];
  }

  clear(): void {
    this.#values = [];
    this.#next = 0;
  }
}
