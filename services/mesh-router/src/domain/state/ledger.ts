/** Applies calls to one bucket, one after the other, in memory; what comes out is what a transaction has to write.
 *
 * The bucket's row is locked while this happens, so nobody else changes what is decided on. */
import type { BucketCounts, BucketRules } from "./bucket.ts";
import { type Decision, decide, revisionOf } from "./decide.ts";
import { type Change, type Entry, isLive, type Origin, sumOf } from "./entry.ts";
import { bytesQuota, GIVEN_UP, keysQuota, REQUEST_REUSED, revisionMismatch } from "./refusals.ts";
import { ROWS_PER_KEY } from "./state-limits.ts";
import type { CallResult, Op, Refusal, WriteCall, WriteResult, Writer } from "./write.ts";

/** A call that was answered before. */
export interface KnownCall {
  readonly bodyHash: bigint;
  readonly results: readonly WriteResult[];
}

/** What a ledger begins with. */
export interface LedgerInit {
  readonly rules: BucketRules;
  readonly counts: BucketCounts;
  /** Rows of the keys that the calls are about. */
  readonly entries: ReadonlyMap<string, Entry>;
  /** Calls of the last 24 h, by name. */
  readonly known: ReadonlyMap<string, KnownCall>;
  readonly nowMs: number;
  readonly rememberedMs: number;
}

/** What has to be written. */
export interface LedgerOutcome {
  readonly bucketId: bigint;
  readonly counts: BucketCounts;
  /** Keys whose row changes; undefined: the row goes. */
  readonly rows: ReadonlyMap<string, Entry | undefined>;
  /** Says whether a key had a row before. */
  readonly had: (key: string) => boolean;
  /** In the order of revisions. */
  readonly changes: readonly Change[];
  /** Calls to be remembered. */
  readonly calls: readonly (KnownCall & { readonly key: string })[];
}

/** Counts and rows that may be thrown away as a whole. */
interface Draft {
  readonly counts: BucketCounts;
  readonly rows: Map<string, Entry | undefined>;
  readonly changes: Change[];
}

/** One bucket during one transaction. */
export class Ledger {
  readonly #init: LedgerInit;
  readonly #rows = new Map<string, Entry | undefined>();
  readonly #changes: Change[] = [];
  readonly #calls = new Map<string, KnownCall>();
  #counts: BucketCounts;
  #writer: Writer | undefined;
  #origin: Origin | undefined;

  constructor(init: LedgerInit) {
    this.#init = init;
    this.#counts = init.counts;
  }

  get outcome(): LedgerOutcome {
    return {
      bucketId: this.#init.rules.bucketId,
      counts: this.#counts,
      rows: this.#rows,
      had: (key) => this.#init.entries.has(key),
      changes: this.#changes,
      calls: [...this.#calls].map(([key, call]) => ({ key, ...call })),
    };
  }

  /** Applies a call: as it was answered before, or now. */
  apply(call: WriteCall): CallResult {
    const { rules } = this.#init;
    const { name } = call;
    const known =
      name === undefined
        ? undefined
        : (this.#calls.get(name.key) ?? this.#init.known.get(name.key));
    if (known !== undefined) {
      if (known.bodyHash !== name?.bodyHash) return { kind: "refused", refusal: REQUEST_REUSED };
      return { kind: "done", rules, results: known.results };
    }
    if (call.isGivenUp()) return { kind: "refused", refusal: GIVEN_UP };
    const result = call.atomic ? this.#applyWhole(call) : this.#applyEach(call);
    if (name !== undefined && result.kind === "done" && hasEffect(result.results)) {
      const results = result.results.map(withoutCurrent);
      this.#calls.set(name.key, { bodyHash: name.bodyHash, results });
    }
    return result;
  }

  /** Says whether the call can be decided on: a VECTOR bucket keeps versions, so it has to know them. What ends a key keeps none. */
  canApply({ ops }: WriteCall): boolean {
    const { rules, entries } = this.#init;
    if (rules.policy !== "vector") return true;
    return ops.every(
      ({ kind, key }) =>
        kind === "expire" ||
        kind === "purge" ||
        this.#rows.has(key) ||
        entries.get(key)?.partial !== true,
    );
  }

  #applyEach(call: WriteCall): CallResult {
    const results: WriteResult[] = [];
    let open = this.#open();
    for (const op of call.ops) {
      const [next, result] = this.#applyOp(open, call, op);
      open = next;
      results.push(result);
    }
    this.#keep(open);
    return { kind: "done", rules: this.#init.rules, results };
  }

  #applyWhole(call: WriteCall): CallResult {
    for (const [index, { key, revision }] of call.preconditions.entries()) {
      const found = revisionOf(this.#find(this.#open(), key), this.#init.nowMs);
      if (found === revision) continue;
      const refusal = revisionMismatch(key, revision, found);
      return { kind: "refused", refusal, at: { part: "precondition", index } };
    }
    const results: WriteResult[] = [];
    let open = this.#open();
    for (const [index, op] of call.ops.entries()) {
      const [next, result] = this.#applyOp(open, call, op);
      const { refusal } = result;
      if (refusal !== undefined) return { kind: "refused", refusal, at: { part: "write", index } };
      open = next;
      results.push(result);
    }
    this.#keep(open);
    return { kind: "done", rules: this.#init.rules, results };
  }

  #open(): Draft {
    return { counts: this.#counts, rows: new Map(), changes: [] };
  }

  #keep({ counts, rows, changes }: Draft): void {
    this.#counts = counts;
    for (const [key, entry] of rows) this.#rows.set(key, entry);
    this.#changes.push(...changes);
  }

  #find(draft: Draft, key: string): Entry | undefined {
    if (draft.rows.has(key)) return draft.rows.get(key);
    if (this.#rows.has(key)) return this.#rows.get(key);
    return this.#init.entries.get(key);
  }

  #applyOp(draft: Draft, { writer }: WriteCall, op: Op): [Draft, WriteResult] {
    const { rules, nowMs, rememberedMs } = this.#init;
    const stored = this.#find(draft, op.key);
    const revision = draft.counts.revision + 1n;
    const origin = this.#originOf(writer);
    const moment = { key: op.key, rules, stored, revision, nowMs, origin, rememberedMs };
    const decision = decide(moment, op);
    if (decision.kind === "forget") {
      draft.rows.set(op.key, undefined);
      return [{ ...draft, counts: recount(draft.counts, stored, undefined) }, NOTHING_LEFT];
    }
    if (decision.kind !== "change") return [draft, this.#resultOf(decision, stored)];
    const counts = { ...recount(draft.counts, stored, decision.entry), revision };
    const refusal = this.#quotaProblem(draft.counts, counts);
    if (refusal !== undefined) return [draft, refused(refusal)];
    draft.rows.set(op.key, decision.entry);
    draft.changes.push({ kind: decision.change, entry: decision.entry });
    return [{ ...draft, counts }, appliedResult(decision)];
  }

  /** One for all writes of a call. */
  #originOf(writer: Writer): Origin {
    if (this.#origin === undefined || this.#writer !== writer) {
      this.#writer = writer;
      this.#origin = { ...writer, atMs: this.#init.nowMs };
    }
    return this.#origin;
  }

  /** A bucket that is over its quota, since that was made smaller, still lets go of what it has. */
  #quotaProblem(before: BucketCounts, after: BucketCounts): Refusal | undefined {
    const { keysMax, bytesMax } = this.#init.rules.quota;
    if (after.keys > keysMax && after.keys > before.keys) return keysQuota(keysMax, "keys");
    const rows = after.keys + after.tombstones;
    const rowsMax = keysMax * ROWS_PER_KEY;
    if (rows > rowsMax && rows > before.keys + before.tombstones) {
      return keysQuota(rowsMax, "keys, deleted ones that are remembered included");
    }
    if (after.bytes > bytesMax && after.bytes > before.bytes) return bytesQuota(bytesMax);
    return undefined;
  }

  #resultOf(
    decision: Exclude<Decision, { kind: "change" | "forget" }>,
    stored: Entry | undefined,
  ): WriteResult {
    const live = isLive(stored, this.#init.nowMs) ? stored : undefined;
    const loses = decision.kind === "superseded" || isLost(decision);
    return {
      status: decision.kind,
      revision: live?.revision ?? 0n,
      context: undefined,
      sum: live === undefined ? 0n : sumOf(live),
      versions: live?.versions.length ?? 0,
      ...(decision.kind === "refused" ? { refusal: decision.refusal } : {}),
      ...(loses && live?.partial === false ? { current: live } : {}),
    };
  }
}

function isLost(decision: Decision): boolean {
  return decision.kind === "refused" && decision.refusal.reason === "STATE_REVISION_MISMATCH";
}

/** Refusals are not remembered: what was refused was not done. */
function hasEffect(results: readonly WriteResult[]): boolean {
  return results.some(({ status }) => status !== "refused");
}

function withoutCurrent(result: WriteResult): WriteResult {
  const kept = { ...result };
  delete kept.current;
  return kept;
}

function refused(refusal: Refusal): WriteResult {
  return { status: "refused", revision: 0n, context: undefined, sum: 0n, versions: 0, refusal };
}

const NOTHING_LEFT: WriteResult = {
  status: "applied",
  revision: 0n,
  context: undefined,
  sum: 0n,
  versions: 0,
};

function appliedResult({ entry, context }: Extract<Decision, { kind: "change" }>): WriteResult {
  return {
    status: "applied",
    revision: entry.deleted ? 0n : entry.revision,
    context,
    sum: sumOf(entry),
    versions: entry.versions.length,
  };
}

/** A row whose time is over still counts as a key until the sweep has ended it. */
function recount(
  { revision, keys, tombstones, bytes }: BucketCounts,
  before: Entry | undefined,
  after: Entry | undefined,
): BucketCounts {
  const step = (count: number, was: boolean, is: boolean): number => count - +was + +is;
  return {
    revision,
    keys: step(keys, before?.deleted === false, after?.deleted === false),
    tombstones: step(tombstones, before?.deleted === true, after?.deleted === true),
    bytes: bytes - (before?.sizeBytes ?? 0) + (after?.sizeBytes ?? 0),
  };
}
