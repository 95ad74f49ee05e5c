/** What state needs from outside, small and named by role. */
import type { Change, Entry } from "./entry.ts";
import type { BucketSight } from "./key-memory.ts";
import type { CallResult, Policy, WriteCall } from "./write.ts";

/** The changes that one transaction made to a bucket. */
export interface ChangeGroup {
  readonly bucketId: bigint;
  /** Not empty, rising without a gap. */
  readonly changes: readonly Change[];
}

/** What is said of a call whose bucket somebody else holds: nothing was done. */
export const HELD = "held";

/** What became of a call. */
export type CommitResult = CallResult | Error;

/** How commits are told to replicas that no bus reaches: by the database, in the commit itself. */
export interface CommitNotices {
  readonly channel: string;
  /** Names this start of the replica, which hears its own notices too. */
  readonly source: string;
}

/** Writes by group commit. */
export interface WriteStore {
  /** Applies calls in their order, in as few transactions as can be; results in the order of calls. Waits for a bucket that somebody
   * else holds, a lock's time at most.
   *
   * Errors: unavailable/DATABASE_UNAVAILABLE and COMMIT_OUTCOME_UNKNOWN: every call of them may be repeated by its name. */
  commit(calls: readonly WriteCall[]): Promise<readonly CommitResult[]>;
  /** The same without waiting for a bucket: calls of one that is held are HELD, and hold up no others. */
  commitFree(calls: readonly WriteCall[]): Promise<readonly (CommitResult | typeof HELD)[]>;
}

/** Names a key. */
export interface KeyName {
  readonly namespace: string;
  readonly bucket: string;
  readonly key: string;
  readonly includeDeleted: boolean;
}

/** A key that was looked for. */
export interface FoundKey {
  /** Undefined: there is no such bucket. */
  readonly rules: { readonly bucketId: bigint; readonly policy: Policy } | undefined;
  readonly entry: Entry | undefined;
}

/** Names keys of one bucket. */
export interface KeysName {
  readonly namespace: string;
  readonly bucket: string;
  readonly keys: readonly string[];
  readonly includeDeleted: boolean;
}

/** Keys that were looked for. */
export interface FoundKeys {
  /** Undefined: there is no such bucket. */
  readonly rules: FoundKey["rules"];
  /** In the order of the keys' bytes. */
  readonly entries: readonly Entry[];
  /** Those that found no room. */
  readonly unreadKeys: readonly string[];
}

/** A page of keys. */
export interface KeyPage {
  readonly entries: readonly Entry[];
  /** The last key looked at; undefined on the last page. */
  readonly lastKey: string | undefined;
}

/** Which keys. */
export interface KeyQuery {
  readonly bucketId: bigint;
  readonly prefix: string;
  readonly afterKey: string;
  readonly onlyConflicts: boolean;
  readonly includeDeleted: boolean;
  readonly limit: number;
}

/** What the log holds behind a revision. */
export interface LogPage {
  /** Undefined: the bucket is gone. */
  readonly bucket: { readonly revision: bigint; readonly trimmedRevision: bigint } | undefined;
  readonly groups: readonly ChangeGroup[];
}

/** Reads what is committed, as of now. */
export interface ReadStore {
  /** Reads keys of any buckets with one statement, in the order of names. */
  read(names: readonly KeyName[]): Promise<readonly FoundKey[]>;
  /** Reads many keys of one bucket. */
  readMany(name: KeysName): Promise<FoundKeys>;
  /** How buckets are now, by one statement, in the order of names; undefined: there is none. */
  sight(
    names: readonly Pick<KeyName, "namespace" | "bucket">[],
  ): Promise<readonly (BucketSight | undefined)[]>;
  page(query: KeyQuery): Promise<KeyPage>;
  /** The same with opaque tokens. Errors: invalid/PAGE_TOKEN_INVALID. */
  list(
    query: Omit<KeyQuery, "afterKey"> & { readonly pageToken: string },
  ): Promise<{ readonly entries: readonly Entry[]; readonly nextPageToken: string }>;
  /** Reads changes behind a revision, as many as fit in an answer. */
  log(bucketId: bigint, after: bigint): Promise<LogPage>;
  /** Which of the buckets have changes behind these revisions, or are gone. */
  moved(
    positions: ReadonlyMap<bigint, bigint>,
  ): Promise<{ readonly moved: readonly bigint[]; readonly gone: readonly bigint[] }>;
}

/** Hears what happens to state. */
export interface StateEvents {
  /** Calls and writes of one flush, and what it took. */
  stateCommitted(calls: number, writes: number, durationMs: number): void;
  stateCommitFailed(error: unknown): void;
  /** An operation of a session ended, with `ok` or the kind of its error. */
  stateOperated(call: string, code: string, durationMs: number): void;
  stateChangesSent(count: number): void;
  stateResynced(reason: string): void;
  stateSwept(kind: "expired" | "purged" | "trimmed" | "dropped", count: number): void;
  statePollFailed(error: unknown): void;
  /** Keys whose time is over could not be ended. */
  stateSweepFailed(error: unknown): void;
}
