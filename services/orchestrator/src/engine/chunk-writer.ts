/** Stores chunks behind the agents' backs: in batches, in their order, without anybody waiting for it. */
import type { Pool } from "@nexus/postgres";
import {
  type Batcher,
  backoffDelayMs,
  createBatcher,
  type Logger,
  MiB,
  NexusError,
  sleep,
} from "@nexus/shared";
import type { EngineEvents } from "../domain/ports.ts";
import { appendChunks, type ChunkRow } from "../store/chunk-store.ts";

/** Most chunks in one statement: of the largest ones, 4 MiB. */
const FLUSH_CHUNKS_MAX = 64;
/** How long the first chunk of a batch waits for others; so much, and a flush, a crash may cost. */
const FLUSH_DELAY_MS = 20;
/** Most chunks that wait for the database. */
const PENDING_CHUNKS_MAX = 20_000;
/** Most bytes of them. */
const PENDING_BYTES_MAX = 32 * MiB;
/** Most attempts of which it is remembered that chunks were dropped. */
const DROPPED_ATTEMPTS_MAX = 10_000;
const RETRY = { initialMs: 100, multiplier: 2, maxMs: 5_000, jitter: 0.2 };

/** What a writer needs. */
export interface ChunkWriterOptions {
  readonly pool: Pool;
  readonly events: EngineEvents;
  readonly logger: Logger;
}

/** Owns the chunks that are not stored yet. A full queue drops chunks, never blocks; where it did is stored as a row
 * without data, so that readers can say it. */
export class ChunkWriter {
  readonly #options: ChunkWriterOptions;
  readonly #batcher: Batcher<ChunkRow, undefined>;
  readonly #pending = new Set<ChunkRow>();
  #pendingBytes = 0;
  /** By task: the first chunk that was dropped since the last flush. */
  readonly #dropped = new Map<string, ChunkRow>();
  readonly #closing = new AbortController();

  constructor(options: ChunkWriterOptions) {
    this.#options = options;
    this.#batcher = createBatcher({
      name: "chunk",
      maxItems: FLUSH_CHUNKS_MAX,
      maxDelayMs: FLUSH_DELAY_MS,
      maxQueued: PENDING_CHUNKS_MAX,
      flush: (rows) => this.#flush(rows),
    });
  }

  /** Takes a chunk over; it is stored a moment later, unless too much waits. */
  add(row: ChunkRow): void {
    const bytes = row.data?.byteLength ?? 0;
    if (this.#pendingBytes + bytes > PENDING_BYTES_MAX) {
      this.#drop(row);
      return;
    }
    this.#pending.add(row);
    this.#pendingBytes += bytes;
    const settled = () => {
      this.#pending.delete(row);
      this.#pendingBytes -= bytes;
    };
    this.#batcher.add(row).then(settled, () => {
      settled();
      this.#drop(row);
    });
  }

  /** An attempt's chunks that may not be stored yet, in order. Read them before the table: what leaves here meanwhile is
   * there. */
  pendingOf(taskId: string, fence: bigint): ChunkRow[] {
    return [...this.#pending].filter((row) => row.taskId === taskId && row.fence === fence);
  }

  /** Stores what waits, if the database is there. */
  close(): Promise<void> {
    this.#closing.abort();
    return this.#batcher.close();
  }

  async #flush(rows: readonly ChunkRow[]): Promise<undefined[]> {
    const startedAtMs = performance.now();
    const markers = [...this.#dropped.values()];
    this.#dropped.clear();
    try {
      await this.#store([...markers, ...rows]);
    } catch (error) {
      // What the database takes from nobody now, its disk is full, say, it may take later. Anything else may be a marker's own fault.
      const mayTakeLater = NexusError.from(error).kind !== "internal";
      if (mayTakeLater) for (const marker of markers) this.#remember(marker);
      throw error;
    }
    const seconds = (performance.now() - startedAtMs) / 1_000;
    this.#options.events.flushed("chunk", rows.length, seconds);
    return rows.map(() => undefined);
  }

  /** Repeats while the database is away, and while others wait behind: the order holds. */
  async #store(rows: readonly ChunkRow[]): Promise<void> {
    for (let failures = 1; ; failures += 1) {
      try {
        await appendChunks(this.#options.pool, rows);
        return;
      } catch (error) {
        this.#options.events.flushFailed("chunk", error);
        const away = NexusError.is(error, "unavailable") && !this.#closing.signal.aborted;
        if (!away) throw error;
        await this.#pause(backoffDelayMs(failures, RETRY));
      }
    }
  }

  #drop(row: ChunkRow): void {
    this.#options.events.updateDropped("queue_full");
    this.#remember({ ...row, data: undefined });
  }

  /** Of each task the first one of its newest attempt, while there is room for more tasks. */
  #remember(marker: ChunkRow): void {
    const { taskId, fence, sequence } = marker;
    const known = this.#dropped.get(taskId);
    const counts =
      known === undefined
        ? this.#dropped.size < DROPPED_ATTEMPTS_MAX
        : fence > known.fence || (fence === known.fence && sequence < known.sequence);
    if (counts) this.#dropped.set(taskId, marker);
  }

  async #pause(ms: number): Promise<void> {
    try {
      await sleep(ms, this.#closing.signal);
    } catch {
      // Closing: the caller's loop sees that itself.
    }
  }
}
