/** Writes to the streams: what is said while one pipeline is on its way goes with the next. */
import type { Redis } from "ioredis";
import { type BatchItem, encodeBatch, itemBytes } from "../batch.ts";
import { BATCH_BYTES_MAX } from "../bus.ts";
import { EVERYONE, type Keys } from "./keys.ts";

/** A stream that nobody writes to any more goes away. */
const STREAM_TTL_MS = 3_600_000;
/** Replicas written to since the last new incarnation. */
const TARGETS_MAX = 1_024;

/** What a writer is made from. */
export interface StreamWriterInit {
  readonly redis: Redis;
  readonly keys: Keys;
  readonly replicaId: string;
  /** Makes a new name for a start of this replica. */
  readonly newIncarnation: () => string;
  readonly waitingBytesMax: number;
  readonly streamEntriesMax: number;
  /** Bytes that a stream keeps, about, of this writer; they change with the number of those who share it. */
  readonly streamBytesMax: () => number;
  /** A pipeline was written. So many of its messages were not carried after all, for this reason; 0: all were. */
  readonly onWritten: (failed: number, error: unknown) => void;
}

interface Target {
  /** Of the last batch that was written, or should have been. */
  sequence: number;
  waiting: BatchItem[];
  wasWritten: boolean;
  /** Of the newest batches that were written, as many as the stream keeps. */
  readonly sizes: number[];
  /** Their sum. */
  bytes: number;
  /** True while older ones may stand in the stream, and are too many bytes. */
  isCut: boolean;
}

/** Numbers the batches to each replica, so that the reader finds what is missing. */
export class StreamWriter {
  readonly #init: StreamWriterInit;
  readonly #targets = new Map<string, Target>();
  #incarnation: string;
  #waitingBytes = 0;
  #turn: NodeJS.Immediate | undefined;
  #writing: Promise<void> | undefined;

  constructor(init: StreamWriterInit) {
    this.#init = init;
    this.#incarnation = init.newIncarnation();
  }

  /** Names this start: a reader's own words come back to it by the common stream. */
  get incarnation(): string {
    return this.#incarnation;
  }

  /** The number of the last batch to each replica. */
  get written(): Readonly<Record<string, number>> {
    return Object.fromEntries(
      [...this.#targets]
        .filter(([to]) => to !== EVERYONE)
        .map(([to, { sequence }]) => [to, sequence]),
    );
  }

  /** Takes a message in; false when too much waits or nothing can be written. Its reader learns of the gap. */
  write(to: string, item: BatchItem): boolean {
    const target = this.#target(to);
    const size = itemBytes(item);
    const isFull = this.#waitingBytes + size > this.#init.waitingBytesMax;
    if (isFull || this.#init.redis.status !== "ready") {
      target.sequence += 1;
      return false;
    }
    target.waiting.push(item);
    this.#waitingBytes += size;
    this.#schedule();
    return true;
  }

  /** Writes what waits now. */
  async flush(): Promise<void> {
    clearImmediate(this.#turn);
    this.#turn = undefined;
    await this.#writing;
    this.#start();
    await this.#writing;
  }

  #schedule(): void {
    if (this.#writing === undefined) this.#turn ??= setImmediate(() => this.#start());
  }

  #start(): void {
    this.#turn = undefined;
    if (this.#writing !== undefined || this.#waitingBytes === 0) return;
    this.#writing = this.#writeAll().finally(() => {
      this.#writing = undefined;
      if (this.#waitingBytes > 0) this.#schedule();
    });
  }

  async #writeAll(): Promise<void> {
    const { redis, keys } = this.#init;
    const pipeline = redis.pipeline();
    const counts: number[] = [];
    for (const [to, target] of this.#targets) {
      for (const items of takeBatches(target)) {
        const head = this.#head(target);
        const bytes = encodeBatch(head, items);
        const entriesMax = this.#entriesMax(target, bytes.byteLength);
        pipeline.xadd(keys.stream(to), "MAXLEN", "~", entriesMax, "*", "b", bytes);
        counts.push(items.length);
      }
    }
    this.#waitingBytes = 0;
    let failed = 0;
    let reason: unknown;
    try {
      const results = (await pipeline.exec()) ?? [];
      for (const [index, count] of counts.entries()) {
        const error = results[index]?.[0];
        if (error == null) continue;
        failed += count;
        reason ??= error;
      }
    } catch (error) {
      failed = counts.reduce((sum, count) => sum + count, 0);
      reason = error;
    }
    this.#init.onWritten(failed, reason);
  }

  /** Lets the streams that were written to live on, and finds out whether Redis answers. Errors: whatever it says. */
  async keepAlive(): Promise<void> {
    const { redis, keys } = this.#init;
    const pipeline = redis.pipeline().ping();
    for (const [to, target] of this.#targets) {
      if (target.wasWritten) pipeline.pexpire(keys.stream(to), STREAM_TTL_MS);
      target.wasWritten = false;
    }
    for (const [error] of (await pipeline.exec()) ?? []) if (error != null) throw error;
  }

  #head(target: Target) {
    target.sequence += 1;
    target.wasWritten = true;
    return {
      from: this.#init.replicaId,
      incarnation: this.#incarnation,
      sequence: target.sequence,
      sentAtMs: Date.now(),
    };
  }

  /** Redis trims by count only: so many of the newest entries have room. Those of other writers between them make it keep fewer of
   * one's own, and each keeps its share of the bytes. */
  #entriesMax(target: Target, size: number): number {
    const { streamEntriesMax, streamBytesMax } = this.#init;
    const bytesMax = streamBytesMax();
    const { sizes } = target;
    sizes.push(size);
    target.bytes += size;
    let dropped = Math.max(0, sizes.length - streamEntriesMax);
    // Older entries of this writer are cut off by their number then.
    if (dropped > 0) target.isCut = false;
    for (let at = 0; at < dropped; at += 1) target.bytes -= sizes[at] as number;
    while (target.bytes > bytesMax && dropped < sizes.length - 1) {
      target.bytes -= sizes[dropped] as number;
      dropped += 1;
      target.isCut = true;
    }
    if (dropped > 0) sizes.splice(0, dropped);
    return target.isCut ? sizes.length : streamEntriesMax;
  }

  #target(to: string): Target {
    let target = this.#targets.get(to);
    if (target === undefined) {
      if (this.#targets.size >= TARGETS_MAX) this.#beginAnew();
      target = { sequence: 0, waiting: [], wasWritten: false, sizes: [], bytes: 0, isCut: false };
      this.#targets.set(to, target);
    }
    return target;
  }

  /** Numbers may be forgotten only under a new name: readers then take this replica for a restarted one, and read anew. */
  #beginAnew(): void {
    this.#incarnation = this.#init.newIncarnation();
    for (const [to, target] of this.#targets) {
      if (target.waiting.length === 0) this.#targets.delete(to);
      else target.sequence = 0;
    }
  }
}

/** Takes what waits, in batches of a bounded size. */
function takeBatches(target: Target): BatchItem[][] {
  const batches: BatchItem[][] = [];
  let batch: BatchItem[] = [];
  let size = 0;
  for (const item of target.waiting) {
    const bytes = itemBytes(item);
    if (batch.length > 0 && size + bytes > BATCH_BYTES_MAX) {
      batches.push(batch);
      batch = [];
      size = 0;
    }
    batch.push(item);
    size += bytes;
  }
  if (batch.length > 0) batches.push(batch);
  target.waiting = [];
  return batches;
}
