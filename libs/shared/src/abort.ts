/** Listening to an abort, for any number of calls that share a signal. */

/** Who listens to a signal, by the signal. */
const listeners = new WeakMap<AbortSignal, Listeners>();

/** Calls back once when the signal aborts, unless the returned function was called before. Never for a signal that has aborted already: look
 * at that first.
 *
 * All that listen this way are one listener of the signal's own: a program may give one signal to thousands of calls, and Node 20 warns of a
 * leak at the eleventh. A listener must not throw. */
export function onAbort(signal: AbortSignal, listener: () => void): () => void {
  if (signal.aborted) return () => undefined;
  let all = listeners.get(signal);
  if (all === undefined) {
    all = new Listeners(signal);
    listeners.set(signal, all);
  }
  return all.add(listener);
}

/** Owns the one listener of a signal, from the first of many to the last. */
class Listeners {
  readonly #signal: AbortSignal;
  /** By a key of its own each: the same function may listen twice. */
  readonly #all = new Map<object, () => void>();
  readonly #run = (): void => {
    listeners.delete(this.#signal);
    for (const listener of this.#all.values()) listener();
  };

  constructor(signal: AbortSignal) {
    this.#signal = signal;
    signal.addEventListener("abort", this.#run, { once: true });
  }

  add(listener: () => void): () => void {
    const key = {};
    this.#all.set(key, listener);
    return () => {
      if (!this.#all.delete(key) || this.#all.size > 0) return;
      this.#signal.removeEventListener("abort", this.#run);
      if (listeners.get(this.#signal) === this) listeners.delete(this.#signal);
    };
  }
}
