/** Passes what running tasks say to those who watch one task, and has their chunks kept. */
import { MiB, type NexusError } from "@nexus/shared";
import type { JobEvents, TaskChange } from "../domain/job-event.ts";
import type { StreamChunk } from "../domain/task-stream.ts";
import type { LiveLease } from "./agent-entry.ts";
import { Audience, type Subscription } from "./audience.ts";
import { ChunkWriter, type ChunkWriterOptions } from "./chunk-writer.ts";

/** Most chunks of one attempt that are kept. */
export const CHUNKS_KEPT_MAX = 10_000;
/** Most bytes of them. */
export const CHUNK_BYTES_KEPT_MAX = 16 * MiB;
/** Most messages a watcher may be behind. */
export const TASK_WATCH_BUFFER_MAX = 256;
/** Most watchers of single tasks in this process. */
export const TASK_WATCHERS_MAX = 1_000;

/** What a watcher of one task receives. */
export type TaskStreamItem =
  | { readonly kind: "chunk"; readonly chunk: StreamChunk & { readonly data: Uint8Array } }
  | {
      readonly kind: "progress";
      readonly fence: bigint;
      readonly progress: number;
      readonly message: string;
    }
  /** `fence` is that of the live lease; 0 when there is none. */
  | { readonly kind: "change"; readonly change: TaskChange; readonly fence: bigint }
  /** Something may have been missed: read the state and the chunks from the last one seen. */
  | { readonly kind: "gap" };

/** The output that an item holds. */
export function streamBytesOf(item: TaskStreamItem): number {
  return item.kind === "chunk" ? item.chunk.data.byteLength : 0;
}

/** How much of a lease's output came in, since this process holds it. */
interface Tally {
  last: bigint;
  chunks: number;
  bytes: number;
  /** No more is kept. */
  full: boolean;
}

/** Owns the watchers of tasks, and the order of each lease's chunks. */
export class TaskStreams {
  readonly #audience = new Audience<TaskStreamItem>({
    bufferMax: TASK_WATCH_BUFFER_MAX,
    watchersMax: TASK_WATCHERS_MAX,
    bytesOf: streamBytesOf,
  });
  readonly #tallies = new WeakMap<LiveLease, Tally>();
  readonly #writer: ChunkWriter;

  constructor(options: ChunkWriterOptions) {
    this.#writer = new ChunkWriter(options);
  }

  /** Watchers of single tasks. */
  get size(): number {
    return this.#audience.size;
  }

  /** Begins to receive a task's items. Errors: exhausted/QUEUE_FULL beyond TASK_WATCHERS_MAX. */
  subscribe(taskId: string): Subscription<TaskStreamItem> {
    return this.#audience.subscribe(taskId);
  }

  /** An attempt's chunks that the table may not have yet. Subscribe first, then read these, then the table. */
  pendingOf(taskId: string, fence: bigint): readonly StreamChunk[] {
    return this.#writer.pendingOf(taskId, fence);
  }

  /** Takes a chunk of a live lease in; false for one that came before or out of order, which nobody sees. */
  onChunk(live: LiveLease, sequence: bigint, data: Uint8Array): boolean {
    const tally = this.#tallyOf(live);
    if (sequence <= tally.last) return false;
    tally.last = sequence;
    const { fence } = live.lease;
    const { taskId } = live.lease.task;
    this.#keep(tally, { taskId, fence, sequence, data });
    this.#audience.push(taskId, { kind: "chunk", chunk: { fence, sequence, data } });
    return true;
  }

  /** Passes an agent's word on how far its task is. */
  onProgress({ lease }: LiveLease, progress: number, message: string): void {
    const { fence } = lease;
    this.#audience.push(lease.task.taskId, { kind: "progress", fence, progress, message });
  }

  /** Passes committed changes on, in their order. */
  publish(events: readonly JobEvents[], fenceOf: (taskId: string) => bigint): void {
    if (this.size === 0) return;
    for (const change of events.flatMap(({ changes }) => changes)) {
      if (change.kind !== "task" || !this.#audience.isWatched(change.taskId)) continue;
      const fence = fenceOf(change.taskId);
      this.#audience.push(change.taskId, { kind: "change", change, fence });
    }
  }

  /** Memory was read anew: changes may have been committed without having been published. */
  announceGap(which?: (taskId: string) => boolean): void {
    this.#audience.pushAll({ kind: "gap" }, which);
  }

  /** Ends the watches of these tasks with an error. */
  end(error: NexusError, which?: (taskId: string) => boolean): void {
    this.#audience.end(error, which);
  }

  /** Stores what is not stored yet. */
  close(): Promise<void> {
    return this.#writer.close();
  }

  #tallyOf(live: LiveLease): Tally {
    let tally = this.#tallies.get(live);
    if (tally === undefined) {
      tally = { last: 0n, chunks: 0, bytes: 0, full: false };
      this.#tallies.set(live, tally);
    }
    return tally;
  }

  /** Has a chunk stored while the attempt may have more of them, and then once that no more follow. */
  #keep(tally: Tally, row: StreamChunk & { readonly taskId: string; readonly data: Uint8Array }) {
    if (tally.full) return;
    tally.chunks += 1;
    tally.bytes += row.data.byteLength;
    tally.full = tally.chunks > CHUNKS_KEPT_MAX || tally.bytes > CHUNK_BYTES_KEPT_MAX;
    this.#writer.add(tally.full ? { ...row, data: undefined } : row);
  }
}
