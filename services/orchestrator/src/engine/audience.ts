/** Those who watch something, by its key, each behind a bounded queue of its own. */
import { type AsyncQueue, createAsyncQueue, NexusError } from "@nexus/shared";

/** What createAudience needs. */
export interface AudienceLimits {
  /** Most items that a watcher may be behind. */
  readonly bufferMax: number;
  /** Most watchers in this process. */
  readonly watchersMax: number;
}

/** One watcher's end. */
export interface Subscription<T> {
  readonly items: AsyncQueue<T>;
  close(): void;
}

/** Owns the watchers. One that is too slow is ended; the others never wait for it. */
export class Audience<T> {
  readonly #limits: AudienceLimits;
  readonly #byKey = new Map<string, Set<AsyncQueue<T>>>();
  #count = 0;

  constructor(limits: AudienceLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#count;
  }

  /** Says whether anybody watches this. */
  isWatched(key: string): boolean {
    return this.#byKey.has(key);
  }

  /** Begins to receive the items of a key. Errors: exhausted/QUEUE_FULL when there are as many watchers as may be. */
  subscribe(key: string): Subscription<T> {
    const { bufferMax, watchersMax } = this.#limits;
    if (this.#count >= watchersMax) {
      throw new NexusError({
        kind: "exhausted",
        reason: "QUEUE_FULL",
        message: `This replica serves its limit of ${watchersMax} watchers.`,
        details: { retryAfterMs: 1_000 },
      });
    }
    const items = createAsyncQueue<T>({ max: bufferMax });
    let watchers = this.#byKey.get(key);
    if (watchers === undefined) {
      watchers = new Set();
      this.#byKey.set(key, watchers);
    }
    watchers.add(items);
    this.#count += 1;
    return { items, close: () => this.#drop(key, items) };
  }

  push(key: string, item: T): void {
    for (const items of this.#byKey.get(key) ?? []) {
      if (items.push(item) || items.closed) continue;
      items.fail(tooSlow(this.#limits.bufferMax));
      this.#drop(key, items);
    }
  }

  /** Gives all who watch these keys the same item. */
  pushAll(item: T, which: (key: string) => boolean = () => true): void {
    for (const key of this.#byKey.keys()) if (which(key)) this.push(key, item);
  }

  /** Ends the watches of these keys with an error. */
  end(error: NexusError, which: (key: string) => boolean = () => true): void {
    for (const [key, watchers] of this.#byKey) {
      if (!which(key)) continue;
      for (const items of watchers) {
        items.fail(error);
        this.#drop(key, items);
      }
    }
  }

  #drop(key: string, items: AsyncQueue<T>): void {
    const watchers = this.#byKey.get(key);
    if (watchers?.delete(items) !== true) return;
    this.#count -= 1;
    items.end();
    if (watchers.size === 0) this.#byKey.delete(key);
  }
}

function tooSlow(bufferMax: number): NexusError {
  return new NexusError({
    kind: "exhausted",
    reason: "WATCHER_TOO_SLOW",
    message: `The watcher is more than ${bufferMax} messages behind; go on from the last one seen.`,
  });
}
