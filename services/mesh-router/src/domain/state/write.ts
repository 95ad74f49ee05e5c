/** Writes as they are asked for, and what becomes of them. */
import type { CausalContext } from "./causal-context.ts";
import type { Entry } from "./entry.ts";

/** What a bucket does with writes that do not know of each other. */
export type Policy = "lww" | "vector" | "cas" | "counter";

/** A moment that a writer claims. */
export interface ClaimedTime {
  readonly physicalMs: number;
  readonly logical: number;
}

/** What a write may say about what its writer knew. */
export interface WriteTerms {
  readonly expectedRevision?: bigint | undefined;
  /** Encoded; empty for none. */
  readonly context?: Uint8Array | undefined;
  readonly time?: ClaimedTime | undefined;
  readonly ttlMs?: number | undefined;
}

/** Sets a value. */
export interface PutOp extends WriteTerms {
  readonly kind: "put";
  readonly key: string;
  readonly contentType: string;
  readonly data: Uint8Array;
}

/** Removes a value. */
export interface DeleteOp extends WriteTerms {
  readonly kind: "delete";
  readonly key: string;
}

/** Adds to a counter. */
export interface IncrementOp {
  readonly kind: "increment";
  readonly key: string;
  readonly delta: bigint;
  readonly ttlMs?: number | undefined;
}

/** Puts a value in the place of versions. */
export interface ResolveOp {
  readonly kind: "resolve";
  readonly key: string;
  readonly versionIds: readonly bigint[];
  /** Undefined: nothing takes their place. */
  readonly value: { readonly contentType: string; readonly data: Uint8Array } | undefined;
  readonly ttlMs?: number | undefined;
}

/** What the sweep does: ends a key's time, or forgets a deleted one. */
export interface SweepOp {
  readonly kind: "expire" | "purge";
  readonly key: string;
}

/** One change of one key. */
export type Op = PutOp | DeleteOp | IncrementOp | ResolveOp | SweepOp;

/** Who asks. */
export interface Writer {
  readonly principalId: string;
  readonly taskId: string;
  readonly fence: bigint;
  readonly traceId: string;
}

/** Must hold before the first write; 0: the key has no value. */
export interface Precondition {
  readonly key: string;
  readonly revision: bigint;
}

/** One call: writes of one bucket. */
export interface WriteCall {
  readonly namespace: string;
  readonly bucket: string;
  /** Names the call among its caller's; undefined for the sweep, which finds nothing to do when it repeats itself. */
  readonly name: { readonly key: string; readonly bodyHash: bigint } | undefined;
  readonly writer: Writer;
  readonly preconditions: readonly Precondition[];
  readonly ops: readonly Op[];
  /** All or none. */
  readonly atomic: boolean;
  /** True once nobody waits for the answer: a write that was not begun is left out. */
  readonly isGivenUp: () => boolean;
}

/** Why a write was refused, and with which kind of error. */
export interface Refusal {
  readonly kind:
    | "invalid"
    | "precondition"
    | "conflict"
    | "exhausted"
    | "out_of_range"
    | "not_found"
    | "cancelled";
  readonly reason: string;
  readonly message: string;
}

/** What became of a write. */
export type WriteStatus = "applied" | "superseded" | "unchanged" | "refused";

/** What became of one write. */
export interface WriteResult {
  readonly status: WriteStatus;
  /** The key's after it; 0 without a value. */
  readonly revision: bigint;
  readonly context: CausalContext | undefined;
  readonly sum: bigint;
  readonly versions: number;
  readonly refusal?: Refusal;
  /** What is stored, where that is what made it lose. */
  readonly current?: Entry;
}

/** What became of a call. */
export type CallResult =
  | {
      readonly kind: "done";
      readonly rules: { readonly bucketId: bigint; readonly policy: Policy };
      readonly results: readonly WriteResult[];
    }
  | {
      readonly kind: "refused";
      readonly refusal: Refusal;
      /** Which part of an atomic call made it fail. */
      readonly at?: { readonly part: "precondition" | "write"; readonly index: number };
    };
