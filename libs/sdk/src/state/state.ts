/** Shared state as programs see it: buckets of keys, each with one policy for writes that do not know of each other. */
import { NexusError } from "@nexus/shared";

/** Gives access to the buckets of the caller's namespace. What is written through a task's own one is written under its lease. */
export interface State {
  /** Names a bucket, with the type of its values. Nothing is sent before the first call.
   *
   * @example
   * const plans = ctx.state.bucket<Plan>("plans");
   * const { revision } = await plans.put("today", plan);
   */
  readonly bucket: <T = unknown>(name: string) => Bucket<T>;
}

/** Who wrote something, and why. */
export interface StateOrigin {
  /** Empty: the key's time was over. */
  readonly principalId: string;
  /** Empty: it was written for no task. */
  readonly taskId: string;
  /** Empty: it belongs to no trace. */
  readonly traceId: string;
  /** Epoch milliseconds, by database time. */
  readonly atMs: number;
}

/** One value of a key. */
export interface StateVersion<T> {
  /** Names it for `resolve`. */
  readonly id: bigint;
  /** JSON as a value, text as a string, anything else as bytes. */
  readonly value: T;
  readonly origin: StateOrigin;
}

/** A key as it stands. */
export interface StateEntry<T> {
  readonly key: string;
  readonly revision: bigint;
  /** The newest value; undefined for a counter and for a deleted key. */
  readonly value: T | undefined;
  /** All values, the oldest first: more than one in a VECTOR bucket is a conflict for `resolve`. */
  readonly versions: readonly StateVersion<T>[];
  /** The sum, in a COUNTER bucket. */
  readonly counter: bigint;
  /** What its reader has seen, in a VECTOR bucket; pass the entry, or this, with the next write. */
  readonly context: Uint8Array;
  readonly deleted: boolean;
  /** Epoch milliseconds; undefined: never. */
  readonly expiresAtMs: number | undefined;
  readonly lastChange: StateOrigin;
}

/** What a write may say about what its writer knew. */
export interface PutOptions {
  /** CAS: the revision that is changed; 0n for a key without a value. */
  readonly expectedRevision?: bigint;
  /** VECTOR: the entry that was read, or what the last write returned. Left out: the value stands beside all others. */
  readonly seen?: { readonly context: Uint8Array } | undefined;
  /** LWW: when it was decided, for a write that comes late, in epoch milliseconds. */
  readonly atMs?: number;
  /** How long the key lives; left out: as the bucket says. */
  readonly ttlMs?: number;
}

/** As PutOptions. */
export type DeleteOptions = Omit<PutOptions, "ttlMs">;

/** What became of a write. */
export interface StateWritten {
  /** `superseded`: a later write is stored (LWW). `unchanged`: there was nothing to change. */
  readonly status: "applied" | "superseded" | "unchanged";
  /** The key's revision; 0n when it has no value now. */
  readonly revision: bigint;
  readonly context: Uint8Array;
  readonly counter: bigint;
  /** Values of the key now; more than 1 is a conflict. */
  readonly versions: number;
}

/** Something to write in a transaction. */
export type StateWrite<T> =
  | { readonly put: string; readonly value: T; readonly options?: PutOptions }
  | { readonly delete: string; readonly options?: DeleteOptions }
  | { readonly increment: string; readonly by: bigint | number };

/** Which keys. */
export interface ListOptions {
  readonly prefix?: string;
  /** Only keys with several values. */
  readonly onlyConflicts?: boolean;
  readonly includeDeleted?: boolean;
}

/** Where and for how long to watch. */
export interface WatchOptions {
  readonly prefix?: string;
  /** Go on behind this revision, as an event named it; left out: from the keys as they are. */
  readonly after?: bigint;
  /** Ends the watch without an error. */
  readonly signal?: AbortSignal;
}

/** What a watch tells. */
export type StateEvent<T> =
  /** A key as it is, at the beginning. */
  | { readonly kind: "entry"; readonly entry: StateEntry<T> }
  /** All keys were told; changes follow. */
  | { readonly kind: "ready"; readonly revision: bigint }
  | {
      readonly kind: "put" | "delete" | "expire";
      readonly entry: StateEntry<T>;
      readonly revision: bigint;
    }
  /** Changes are missing: forget every key; all that exist follow. */
  | { readonly kind: "resync" };

/** Keys with one policy. */
export interface Bucket<T> {
  readonly name: string;
  /** Reads a key as it is committed now; undefined when it has no value. Reads of one moment travel together. */
  get(key: string): Promise<StateEntry<T> | undefined>;
  /** Reads many keys of one moment; those without a value are left out. At most 256. */
  getMany(keys: readonly string[]): Promise<ReadonlyMap<string, StateEntry<T>>>;
  /** Lists keys in the order of their bytes. */
  list(options?: ListOptions): AsyncIterable<StateEntry<T>>;
  /** Sets a value; resolves when it is committed. Writes of one moment travel, and are committed, together.
   *
   * Errors: StateConflict (conflict/STATE_REVISION_MISMATCH) with what is stored; conflict/LEASE_LOST; exhausted/STATE_KEYS_QUOTA,
   * STATE_BYTES_QUOTA, STATE_VALUE_TOO_LARGE, STATE_SIBLING_LIMIT; precondition/STATE_POLICY_MISMATCH, STATE_REVISION_REQUIRED;
   * not_found/STATE_BUCKET_NOT_FOUND. */
  put(key: string, value: T, options?: PutOptions): Promise<StateWritten>;
  /** Removes a value. In a VECTOR bucket `seen` is needed. */
  delete(key: string, options?: DeleteOptions): Promise<StateWritten>;
  /** Adds to a counter, 1 if nothing else is said, and resolves with the sum. Counts once, also when it had to be sent twice. */
  increment(key: string, by?: bigint | number): Promise<bigint>;
  /** Puts one value in the place of all that the entry shows; undefined removes them. What came since stays.
   *
   * Errors: conflict/STATE_VERSION_GONE when somebody was faster: read it again. */
  resolve(entry: StateEntry<T>, value: T | undefined): Promise<StateWritten>;
  /** Reads, changes and writes back a key of a CAS bucket, and begins anew when somebody was faster, 20 times at most. */
  update(key: string, change: (value: T | undefined) => T): Promise<StateWritten>;
  /** Writes all or nothing, if the keys have these revisions; 0n: no value.
   *
   * Errors: as put, with `write` or `precondition`, the place of what failed, in `details.metadata`. */
  transact(
    writes: readonly StateWrite<T>[],
    revisions?: Readonly<Record<string, bigint>>,
  ): Promise<readonly StateWritten[]>;
  /** Follows the bucket, over broken streams too: each change once and in order; what is missing is said.
   *
   * Errors: not_found/STATE_BUCKET_NOT_FOUND once it is deleted; the last error once 10 streams in a row broke. */
  watch(options?: WatchOptions): AsyncGenerator<StateEvent<T>, void>;
}

/** A write that met another value than its writer had read. */
export class StateConflict<T = unknown> extends NexusError {
  /** What is stored; undefined when the key has no value. */
  readonly current: StateEntry<T> | undefined;

  constructor(message: string, current: StateEntry<T> | undefined) {
    super({ kind: "conflict", reason: "STATE_REVISION_MISMATCH", message });
    this.current = current;
  }
}
