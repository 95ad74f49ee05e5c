/** A use of a key that lasts longer than one step, such as a stream. */
export interface KeyHold {
  /** Aborts, with the refusal as its reason, as soon as the key may not be used any more. */
  readonly signal: AbortSignal;
  /** Says that the use is over. */
  release(): void;
}

/** The long uses of keys, so that a key that is disabled, destroyed or sealed away ends them too. As many as there are
 * streams, which the server bounds. */
export class KeyHolds {
  readonly #held = new Map<string, Set<AbortController>>();

  hold(keyId: string): KeyHold {
    const controller = new AbortController();
    const holds = this.#held.get(keyId) ?? new Set();
    this.#held.set(keyId, holds.add(controller));
    return {
      signal: controller.signal,
      release: () => {
        holds.delete(controller);
        if (holds.size === 0 && this.#held.get(keyId) === holds) this.#held.delete(keyId);
      },
    };
  }

  /** Ends the uses of one key. */
  end(keyId: string, reason: Error): void {
    const holds = this.#held.get(keyId) ?? [];
    this.#held.delete(keyId);
    for (const controller of holds) controller.abort(reason);
  }

  /** Ends the uses of all keys. */
  endAll(reason: Error): void {
    for (const keyId of [...this.#held.keys()]) this.end(keyId, reason);
  }
}
