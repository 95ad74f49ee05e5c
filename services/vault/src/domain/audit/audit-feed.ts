import type { AuditStore, EntryFilter, Leaf } from "./audit-entries.ts";

/** One message for a watcher; without leaves it is a sign of life. */
export interface FeedBatch {
  readonly leaves: readonly Leaf[];
  /** All leaves before it were sent, or do not fit the filter. */
  readonly next: number;
}

/** Most leaves in one message; the contract says so. */
const FEED_BATCH_MAX = 256;

/** Tells watchers of new leaves. Each reads the log at its own pace, so a slow one costs no memory and loses nothing.
 *
 * It has no timer: loops call hear and beat. */
export class AuditFeed {
  readonly #store: Pick<AuditStore, "latest" | "following">;
  readonly #waiters = new Set<() => void>();
  #size = 0;

  constructor(store: Pick<AuditStore, "latest" | "following">) {
    this.#store = store;
  }

  /** Hears how many leaves any replica gave places to. */
  hear(size: number): void {
    if (size === this.#size) return;
    this.#size = size;
    this.beat();
  }

  /** Wakes every watcher, so that each sends a sign of life. */
  beat(): void {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const wake of waiters) wake();
  }

  /** Yields leaves from an index on (undefined: from now on), then new ones, until the signal aborts. */
  async *follow(
    filter: EntryFilter,
    from: number | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<FeedBatch, void> {
    this.hear((await this.#store.latest())?.size ?? 0);
    let next = from ?? this.#size;
    while (!signal.aborted) {
      const to = this.#size;
      const limit = FEED_BATCH_MAX;
      const leaves =
        next < to ? await this.#store.following(filter, { from: next, to, limit }) : [];
      const last = leaves.at(-1);
      const isFull = leaves.length === FEED_BATCH_MAX && last !== undefined;
      next = isFull ? last.index + 1 : Math.max(next, to);
      // Made before the yield, so that what happens while the batch is being sent wakes the next round.
      const change = isFull || this.#size > next ? undefined : this.#change(signal);
      yield { leaves, next };
      await change;
    }
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        signal.removeEventListener("abort", wake);
        this.#waiters.delete(wake);
        resolve();
      };
      this.#waiters.add(wake);
      signal.addEventListener("abort", wake, { once: true });
    });
  }
}
