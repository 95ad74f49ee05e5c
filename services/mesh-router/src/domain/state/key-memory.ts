/** Keys as this replica last committed or read them. They hold for as long as their bucket's revision does: whatever changes a key that
 * has a value makes a new revision, so whoever finds the bucket where this memory is need not read them again.
 *
 * Deleted keys are not kept: forgetting one makes no revision. Nor are those that were read without their values. */
import { type Entry, isExpired } from "./entry.ts";
import {
  REMEMBERED_BYTES_MAX,
  REMEMBERED_ENTRY_BYTES,
  REMEMBERED_VALUE_BYTES_MAX,
} from "./state-limits.ts";
import type { Policy } from "./write.ts";

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
  /** Keys at that next revision; undefined: it has no row, or was not looked for. */
  readonly rows: Iterable<readonly [string, Entry | undefined]>;
}

/** How somebody saw a bucket after the question came. */
export interface BucketSight {
  readonly bucketId: bigint;
  readonly policy: Policy;
  readonly revision: bigint;
  /** Database time. */
  readonly nowMs: number;
}

interface Memory {
  readonly bucketId: bigint;
  revision: bigint;
  readonly entries: Map<string, Entry>;
}

/** The memory of one replica. */
export class KeyMemory {
  readonly #buckets = new Map<string, Memory>();
  /** Commits under way. */
  readonly #held = new Map<string, number>();
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

  /** Says whether all of these keys are remembered. */
  holds(name: string, keys: readonly string[]): boolean {
    const entries = this.#buckets.get(name)?.entries;
    return entries !== undefined && keys.every((key) => entries.has(key));
  }

  /** What these keys are, if memory is as new as somebody saw the bucket; undefined: they have to be read. Those whose time is over are
   * left out. */
  recallAt(name: string, keys: readonly string[], seen: BucketSight): Entry[] | undefined {
    const memory = this.#buckets.get(name);
    // A later revision is one of this replica's own, committed meanwhile.
    if (memory?.bucketId !== seen.bucketId || memory.revision < seen.revision) return undefined;
    const found = keys.map((key) => memory.entries.get(key));
    if (!found.every((entry) => entry !== undefined)) return undefined;
    return found.filter((entry) => !isExpired(entry, seen.nowMs));
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

  /** Takes in what somebody read without the bucket's lock. A bucket that others write all the time is seen with another revision each
   * time, and its keys are not worth keeping: the second look that finds it where the first did keeps them. */
  notice(
    name: string,
    { bucketId, revision }: Pick<BucketSight, "bucketId" | "revision">,
    entries: readonly Entry[],
  ): void {
    // The revision may be that of the commit under way, which knows more.
    if (this.#held.has(name)) return;
    const known = this.#buckets.get(name);
    const isSteady = known?.bucketId === bucketId && known.revision === revision;
    const rows = isSteady ? entries.map((entry) => [entry.key, entry] as const) : [];
    this.learn(name, { bucketId, revision, nextRevision: revision, rows });
  }

  /** Says that a commit is under way, until the returned function is called. */
  hold(name: string): () => void {
    this.#held.set(name, (this.#held.get(name) ?? 0) + 1);
    return () => {
      const left = (this.#held.get(name) ?? 1) - 1;
      if (left === 0) this.#held.delete(name);
      else this.#held.set(name, left);
    };
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
