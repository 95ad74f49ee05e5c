/** Those who watch something, by its key, each behind a bounded queue of its own. */
import { type AsyncQueue, createAsyncQueue, MiB, NexusError, type QueueRoom } from "@nexus/shared";

/** Most bytes that a watcher may be behind. */
export const WATCHER_BYTES_MAX = 4 * MiB;
/** Most bytes that wait for all watchers of an audience. Beyond it each may hold an equal part, and no more. */
export const AUDIENCE_BYTES_MAX = 64 * MiB;

/** How an audience is bounded. */
export interface AudienceLimits<T> {
  /** Most items that a watcher may be behind. */
  readonly bufferMax: number;
  /** Most watchers in this process. */
  readonly watchersMax: number;
  /** What an item holds beside itself: 0 for nearly all. */
  readonly bytesOf: (item: T) => number;
}

/** One watcher's end. */
export interface Subscription<T> {
  readonly items: AsyncQueue<T>;
  /** Nobody reads any more: what waits is given up. */
  close(): void;
}

/** Owns the watchers. One that is too slow is ended; the others never wait for it. */
export class Audience<T> {
  readonly #limits: AudienceLimits<T>;
  readonly #byKey = new Map<string, Set<AsyncQueue<T>>>();
  #count = 0;
  /** Those that have not left, also the ended ones: what they did not read yet is kept for them. */
  #open = 0;
  /** What waits for all of them. */
  #bytes = 0;

  constructor(limits: AudienceLimits<T>) {
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
    if (this.#open >= watchersMax) {
      throw new NexusError({
        kind: "exhausted",
        reason: "QUEUE_FULL",
        message: `This replica serves its limit of ${watchersMax} watchers.`,
        details: { retryAfterMs: 1_000 },
      });
    }
    const items = createAsyncQueue<T>({ max: bufferMax, room: this.#roomOfOne() });
    let watchers = this.#byKey.get(key);
    if (watchers === undefined) {
      watchers = new Set();
      this.#byKey.set(key, watchers);
    }
    watchers.add(items);
    this.#count += 1;
    this.#open += 1;
    let hasLeft = false;
    const close = (): void => {
      if (!hasLeft) this.#open -= 1;
      hasLeft = true;
      this.#drop(key, items);
      void items[Symbol.asyncIterator]().return?.();
    };
    return { items, close };
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

  #roomOfOne(): QueueRoom<T> {
    const { bytesOf } = this.#limits;
    let own = 0;
    const change = (bytes: number): void => {
      own += bytes;
      this.#bytes += bytes;
    };
    return {
      enter: (item) => {
        const bytes = bytesOf(item);
        const isFull = this.#bytes + bytes > AUDIENCE_BYTES_MAX;
        const max = isFull ? AUDIENCE_BYTES_MAX / this.#open : WATCHER_BYTES_MAX;
        // An item that takes nothing is bounded by the number of items.
        if (bytes > 0 && own + bytes > Math.min(max, WATCHER_BYTES_MAX)) return false;
        change(bytes);
        return true;
      },
      leave: (item) => change(-bytesOf(item)),
    };
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
    message: `The watcher is more than ${bufferMax} messages, or ${WATCHER_BYTES_MAX / MiB} MiB, behind; go on from the last one seen.`,
  });
}
