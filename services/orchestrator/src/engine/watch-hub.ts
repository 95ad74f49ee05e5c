/** Passes committed events, and live ones, on to those who watch a job in this process. */
import { type AsyncQueue, createAsyncQueue, NexusError } from "@nexus/shared";
import type { JobEvent } from "../domain/job-event.ts";

/** Most messages a watcher may be behind. */
export const WATCH_BUFFER_MAX = 1_024;
/** Most watchers in this process. */
export const WATCHERS_MAX = 10_000;

/** What a watcher receives. */
export type WatchItem =
  | { readonly kind: "event"; readonly event: JobEvent }
  | { readonly kind: "live"; readonly live: LiveEvent }
  /** Events may have been missed: read the history from the last one seen. */
  | { readonly kind: "gap" };

/** What a running task says; never stored. */
export type LiveEvent =
  | {
      readonly kind: "progress";
      readonly taskId: string;
      readonly taskKey: string;
      readonly progress: number;
      readonly message: string;
    }
  | {
      readonly kind: "chunk";
      readonly taskId: string;
      readonly taskKey: string;
      readonly sequence: bigint;
      readonly data: Uint8Array;
    };

/** One watcher's end. */
export interface Subscription {
  readonly items: AsyncQueue<WatchItem>;
  close(): void;
}

/** Owns the watchers. */
export class WatchHub {
  readonly #byJob = new Map<string, Set<AsyncQueue<WatchItem>>>();
  #count = 0;

  get size(): number {
    return this.#count;
  }

  /** Says whether anybody watches a job. */
  isWatched(jobId: string): boolean {
    return this.#byJob.has(jobId);
  }

  /** Begins to receive a job's items. Errors: exhausted/QUEUE_FULL beyond WATCHERS_MAX. */
  subscribe(jobId: string): Subscription {
    if (this.#count >= WATCHERS_MAX) {
      throw new NexusError({
        kind: "exhausted",
        reason: "QUEUE_FULL",
        message: `This replica serves its limit of ${WATCHERS_MAX} watchers.`,
        details: { retryAfterMs: 1_000 },
      });
    }
    const items = createAsyncQueue<WatchItem>({ max: WATCH_BUFFER_MAX });
    let watchers = this.#byJob.get(jobId);
    if (watchers === undefined) {
      watchers = new Set();
      this.#byJob.set(jobId, watchers);
    }
    watchers.add(items);
    this.#count += 1;
    return { items, close: () => this.#drop(jobId, items) };
  }

  /** Passes committed events on, in their order. */
  publish(events: readonly JobEvent[]): void {
    if (this.#count === 0) return;
    for (const event of events) this.#push(event.jobId, { kind: "event", event });
  }

  /** Passes on what a running task says. */
  publishLive(jobId: string, live: LiveEvent): void {
    this.#push(jobId, { kind: "live", live });
  }

  /** Memory was read anew: events may have been committed without having been published. */
  announceGap(which: (jobId: string) => boolean = () => true): void {
    for (const jobId of this.#byJob.keys()) if (which(jobId)) this.#push(jobId, { kind: "gap" });
  }

  /** Ends the watches of these jobs with an error. */
  end(error: NexusError, which: (jobId: string) => boolean = () => true): void {
    for (const [jobId, watchers] of this.#byJob) {
      if (!which(jobId)) continue;
      for (const items of watchers) {
        items.fail(error);
        this.#drop(jobId, items);
      }
    }
  }

  #push(jobId: string, item: WatchItem): void {
    for (const items of this.#byJob.get(jobId) ?? []) {
      if (items.push(item) || items.closed) continue;
      items.fail(tooSlow());
      this.#drop(jobId, items);
    }
  }

  #drop(jobId: string, items: AsyncQueue<WatchItem>): void {
    const watchers = this.#byJob.get(jobId);
    if (watchers?.delete(items) !== true) return;
    this.#count -= 1;
    items.end();
    if (watchers.size === 0) this.#byJob.delete(jobId);
  }
}

function tooSlow(): NexusError {
  return new NexusError({
    kind: "exhausted",
    reason: "WATCHER_TOO_SLOW",
    message: `The watcher is more than ${WATCH_BUFFER_MAX} messages behind; go on with after_sequence.`,
  });
}
