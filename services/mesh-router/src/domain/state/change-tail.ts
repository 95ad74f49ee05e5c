/** The newest changes of buckets that somebody watches here, in memory. Whoever is further behind reads the log.
 *
 * Nothing is kept for a single watcher but how far it is: one that does not read costs the others nothing. */
import type { Change } from "./entry.ts";
import { TAIL_BYTES_MAX, TAIL_CHANGES_MAX, TAILS_BYTES_MAX } from "./state-limits.ts";
import type { ChangeGroup } from "./state-ports.ts";

/** What is behind a revision. */
export type TailRead =
  | { readonly kind: "changes"; readonly changes: readonly Change[]; readonly revision: bigint }
  | { readonly kind: "nothing" }
  /** The changes are not in memory. */
  | { readonly kind: "behind" }
  /** The bucket was deleted. */
  | { readonly kind: "gone" };

/** One bucket's. */
interface Tail {
  readonly changes: Change[];
  /** Of the last change in memory, or where the tail began. */
  revision: bigint;
  bytes: number;
  gone: boolean;
  readonly watchers: Set<() => void>;
}

/** A watcher's hold on a tail. */
export interface TailHold {
  /** What is behind this revision, at most `max` changes. */
  read(after: bigint, max: number): TailRead;
  /** Resolves at the next news, or sign of life, or at once when there were some since the last wait. */
  wait(): Promise<void>;
  /** Ends a wait. */
  wake(): void;
  close(): void;
}

/** The tails of one replica. */
export class ChangeTails {
  readonly #tails = new Map<bigint, Tail>();
  readonly #onBehind: () => void;
  #bytes = 0;

  /** `onBehind` hears when changes may be missing: of before a bucket was followed here, or of another replica between those of this one. */
  constructor(onBehind: () => void) {
    this.#onBehind = onBehind;
  }

  /** Buckets that are watched. */
  get size(): number {
    return this.#tails.size;
  }

  /** Says whether somebody watches the bucket here. */
  has(bucketId: bigint): boolean {
    return this.#tails.has(bucketId);
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** How far each tail is. */
  positions(): ReadonlyMap<bigint, bigint> {
    return new Map([...this.#tails].map(([bucketId, { revision }]) => [bucketId, revision]));
  }

  /** Begins to follow a bucket, from its revision of now on if nobody follows it yet. */
  open(bucketId: bigint, revision: bigint): TailHold {
    const known = this.#tails.get(bucketId);
    const tail = known ?? newTail(revision);
    this.#tails.set(bucketId, tail);
    // The revision is of a moment ago, and a notice of one since found nobody who follows the bucket.
    if (known === undefined) this.#onBehind();
    let news = false;
    let resolve: (() => void) | undefined;
    const wake = (): void => {
      news = true;
      resolve?.();
      resolve = undefined;
    };
    tail.watchers.add(wake);
    return {
      read: (after, max) => readTail(tail, after, max),
      wait: async () => {
        if (!news) await new Promise<void>((done) => (resolve = done));
        news = false;
      },
      wake,
      close: () => {
        tail.watchers.delete(wake);
        if (tail.watchers.size > 0 || this.#tails.get(bucketId) !== tail) return;
        this.#tails.delete(bucketId);
        this.#bytes -= tail.bytes;
      },
    };
  }

  /** Takes changes that were committed, here or elsewhere; those that are known are passed over. */
  push({ bucketId, changes }: ChangeGroup): void {
    const tail = this.#tails.get(bucketId);
    const fresh =
      tail === undefined ? [] : changes.filter(({ entry }) => entry.revision > tail.revision);
    const [first] = fresh;
    if (tail === undefined || first === undefined) return;
    if (first.entry.revision !== tail.revision + 1n) {
      this.#onBehind();
      return;
    }
    for (const change of fresh) {
      tail.changes.push(change);
      this.#count(tail, bytesOf(change));
    }
    tail.revision = (fresh.at(-1) as Change).entry.revision;
    this.#shrink(tail);
    wakeAll(tail);
  }

  /** Leaves out what nobody can give any more: watchers that need it find themselves behind. */
  skipTo(bucketId: bigint, revision: bigint): void {
    const tail = this.#tails.get(bucketId);
    if (tail === undefined || tail.revision >= revision) return;
    this.#count(tail, -tail.bytes);
    tail.changes.length = 0;
    tail.revision = revision;
    wakeAll(tail);
  }

  /** Tells the watchers of a deleted bucket. */
  end(bucketId: bigint): void {
    const tail = this.#tails.get(bucketId);
    if (tail === undefined) return;
    tail.gone = true;
    wakeAll(tail);
  }

  /** Gives every watcher the occasion for a sign of life. */
  wakeEverybody(): void {
    for (const tail of this.#tails.values()) wakeAll(tail);
  }

  #count(tail: Tail, bytes: number): void {
    tail.bytes += bytes;
    this.#bytes += bytes;
  }

  /** Drops the oldest, half at a time so that it is not done with every change. */
  #shrink(tail: Tail): void {
    const tooMuch =
      tail.changes.length > TAIL_CHANGES_MAX ||
      tail.bytes > TAIL_BYTES_MAX ||
      this.#bytes > TAILS_BYTES_MAX;
    if (!tooMuch) return;
    let bytes = 0;
    const dropped = tail.changes.splice(0, Math.ceil(tail.changes.length / 2));
    for (const change of dropped) bytes += bytesOf(change);
    this.#count(tail, -bytes);
  }
}

function newTail(revision: bigint): Tail {
  return { changes: [], revision, bytes: 0, gone: false, watchers: new Set() };
}

function bytesOf({ entry }: Change): number {
  return entry.sizeBytes;
}

function wakeAll({ watchers }: Tail): void {
  for (const wake of watchers) wake();
}

/** Revisions of a tail have no gap, so a place is found by counting. */
function readTail(tail: Tail, after: bigint, max: number): TailRead {
  if (tail.gone) return { kind: "gone" };
  if (after >= tail.revision) return { kind: "nothing" };
  const from = tail.changes.length - Number(tail.revision - after);
  if (from < 0) return { kind: "behind" };
  const changes = tail.changes.slice(from, from + max);
  return { kind: "changes", changes, revision: (changes.at(-1) as Change).entry.revision };
}
