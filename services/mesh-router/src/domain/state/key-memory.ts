/** Keys as this replica last committed or read them. They hold for as long as their bucket's revision does: whatever changes a key that
 * has a value makes a new revision, so whoever finds the bucket where this memory is need not read them again.
 *
 * Deleted keys are not kept: forgetting one makes no revision. Nor are those that were read without their values. */
import type { Entry } from "./entry.ts";
import {
  REMEMBERED_BYTES_MAX,
  REMEMBERED_ENTRY_BYTES,
  REMEMBERED_VALUE_BYTES_MAX,
} from "./state-limits.ts";

/** What is remembered of one bucket. */
export interface Remembered {
  readonly bucketId: bigint;
  /** At which its keys are as they are here. */
  readonly revision: bigint;
  readonly entries: ReadonlyMap<string, Entry>;
}

/** What was found out about a bucket, under its lock or by one statement. */
export interface Learnt {
  readonly bucketId: bigint;
  /** Before the changes. */
  readonly revision: bigint;
  /** After them. */
  readonly nextRevision: bigint;
  /** Keys at that next revision; undefined: it has no row. */
  readonly rows: Iterable<readonly [string, Entry | undefined]>;
}

interface Memory {
  readonly bucketId: bigint;
  revision: bigint;
  readonly entries: Map<string, Entry>;
}

/** The memory of one replica. */
export class KeyMemory {
  readonly #buckets = new Map<string, Memory>();
  readonly #bytesMax: number;
  #bytes = 0;

  constructor(bytesMax: number = REMEMBERED_BYTES_MAX) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** What is remembered of a bucket, by namespace and name. */
  recall(name: string): Remembered | undefined {
    return this.#buckets.get(name);
  }

  /** Takes in what was committed or read. What was remembered of an earlier revision is forgotten; of a later one it stays. */
  learn(name: string, { bucketId, revision, nextRevision, rows }: Learnt): void {
    const known = this.#buckets.get(name);
    const isSame = known !== undefined && known.bucketId === bucketId;
    if (isSame && known.revision > revision && known.revision >= nextRevision) return;
    const goesOn = isSame && known.revision === revision;
    if (!goesOn) this.forget(name);
    const memory = goesOn ? known : { bucketId, revision, entries: new Map<string, Entry>() };
    if (!goesOn) this.#bytes += REMEMBERED_ENTRY_BYTES;
    memory.revision = nextRevision;
    // The one that was used last is the last to go.
    this.#buckets.delete(name);
    this.#buckets.set(name, memory);
    for (const [key, entry] of rows) this.#set(memory, key, entry);
    this.#shrink();
  }

  /** Forgets a bucket. */
  forget(name: string): void {
    const memory = this.#buckets.get(name);
    if (memory === undefined) return;
    this.#buckets.delete(name);
    this.#bytes -= REMEMBERED_ENTRY_BYTES;
    for (const entry of memory.entries.values()) this.#bytes -= bytesOf(entry);
  }

  #set({ entries }: Memory, key: string, entry: Entry | undefined): void {
    const before = entries.get(key);
    if (before !== undefined) this.#bytes -= bytesOf(before);
    if (entry === undefined || !isWorthKeeping(entry)) {
      entries.delete(key);
      return;
    }
    entries.set(key, entry);
    this.#bytes += bytesOf(entry);
  }

  /** The oldest keys of the bucket that was used longest ago. */
  #shrink(): void {
    for (const [name, { entries }] of this.#buckets) {
      for (const [key, entry] of entries) {
        if (this.#bytes <= this.#bytesMax) return;
        entries.delete(key);
        this.#bytes -= bytesOf(entry);
      }
      if (this.#bytes <= this.#bytesMax) return;
      this.forget(name);
    }
  }
}

function isWorthKeeping({ deleted, partial, sizeBytes }: Entry): boolean {
  return !deleted && !partial && sizeBytes <= REMEMBERED_VALUE_BYTES_MAX;
}

function bytesOf({ sizeBytes }: Entry): number {
  return sizeBytes + REMEMBERED_ENTRY_BYTES;
}
