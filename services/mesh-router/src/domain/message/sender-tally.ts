/** Messages that a sender's own list does not hold: copies of what goes to many, and those of calls. */

/** Counts them for one sender, by whatever objects it sends. */
export class SenderTally {
  readonly #key: string;
  readonly #tallies: Map<string, SenderTally>;
  #messages = 0;

  constructor(key: string, tallies: Map<string, SenderTally>) {
    this.#key = key;
    this.#tallies = tallies;
  }

  get messages(): number {
    return this.#messages;
  }

  add(): void {
    if (this.#messages === 0) this.#tallies.set(this.#key, this);
    this.#messages += 1;
  }

  remove(): void {
    this.#messages -= 1;
    if (this.#messages === 0) this.#tallies.delete(this.#key);
  }
}

/** Finds a sender's tally. It is kept while it counts something, so it has to be added to before it is found again. */
export class SenderTallies {
  readonly #tallies = new Map<string, SenderTally>();

  get size(): number {
    return this.#tallies.size;
  }

  of({ namespace, principalId }: { namespace: string; principalId: string }): SenderTally {
    const key = `${namespace}/${principalId}`;
    return this.#tallies.get(key) ?? new SenderTally(key, this.#tallies);
  }
}
