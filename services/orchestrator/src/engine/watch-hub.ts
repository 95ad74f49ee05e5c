/** Passes committed events, and live ones, on to those who watch a job in this process. */
import type { NexusError } from "@nexus/shared";
import { type JobEvent, type JobEvents, toJobEvents } from "../domain/job-event.ts";
import { Audience, type Subscription } from "./audience.ts";

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

/** What a running task says; not part of the job's history. */
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

/** The output that an item holds. */
export function watchBytesOf(item: WatchItem): number {
  return item.kind === "live" && item.live.kind === "chunk" ? item.live.data.byteLength : 0;
}

/** Owns the watchers of jobs. */
export class WatchHub {
  readonly #audience = new Audience<WatchItem>({
    bufferMax: WATCH_BUFFER_MAX,
    watchersMax: WATCHERS_MAX,
    bytesOf: watchBytesOf,
  });

  get size(): number {
    return this.#audience.size;
  }

  /** Says whether anybody watches a job. */
  isWatched(jobId: string): boolean {
    return this.#audience.isWatched(jobId);
  }

  /** Begins to receive a job's items. Errors: exhausted/QUEUE_FULL beyond WATCHERS_MAX. */
  subscribe(jobId: string): Subscription<WatchItem> {
    return this.#audience.subscribe(jobId);
  }

  /** Passes committed events on, in their order. */
  publish(events: readonly JobEvents[]): void {
    if (this.size === 0) return;
    for (const group of events) {
      if (!this.isWatched(group.jobId)) continue;
      for (const event of toJobEvents(group)) {
        this.#audience.push(group.jobId, { kind: "event", event });
      }
    }
  }

  /** Passes on what a running task says. */
  publishLive(jobId: string, live: LiveEvent): void {
    this.#audience.push(jobId, { kind: "live", live });
  }

  /** Memory was read anew: events may have been committed without having been published. */
  announceGap(which?: (jobId: string) => boolean): void {
    this.#audience.pushAll({ kind: "gap" }, which);
  }

  /** Ends the watches of these jobs with an error. */
  end(error: NexusError, which?: (jobId: string) => boolean): void {
    this.#audience.end(error, which);
  }
}
