/** What one write does to one key, by the bucket's policy. Pure: everything that decides is given. */
import type { BucketRules } from "./bucket.ts";
import {
  type CausalContext,
  contextAfter,
  covers,
  NOTHING_SEEN,
  tryDecodeContext,
} from "./causal-context.ts";
import {
  type ChangeKind,
  createEntry,
  type Entry,
  type EntryInit,
  forgottenAtMs,
  isExpired,
  isLive,
  type Origin,
  type Tally,
  type Version,
} from "./entry.ts";
import { compareTimes, type HybridTime, nextTime, timeProblem } from "./hybrid-time.ts";
import {
  CONTEXT_INVALID,
  CONTEXT_REQUIRED,
  COUNTER_RANGE,
  policyMismatch,
  REVISION_REQUIRED,
  revisionMismatch,
  SIBLING_LIMIT,
  TASK_OVERTAKEN,
  timeInvalid,
  VERSION_GONE,
  valueTooLarge,
} from "./refusals.ts";
import { ENTRY_BYTES_MAX, SIBLINGS_MAX } from "./state-limits.ts";
import type { DeleteOp, IncrementOp, Op, PutOp, Refusal, ResolveOp, WriteTerms } from "./write.ts";

/** What a write is judged by. */
export interface Moment {
  readonly key: string;
  readonly rules: BucketRules;
  /** The key's row; undefined: it has none. Its time may be over. */
  readonly stored: Entry | undefined;
  /** The revision that the change will have. */
  readonly revision: bigint;
  /** Database time, read under the bucket's lock. */
  readonly nowMs: number;
  readonly origin: Origin;
  /** How long deleted keys are remembered. */
  readonly rememberedMs: number;
}

/** What a write does. */
export type Decision =
  | {
      readonly kind: "change";
      readonly change: ChangeKind;
      readonly entry: Entry;
      readonly context: CausalContext | undefined;
    }
  | { readonly kind: "forget" }
  | { readonly kind: "unchanged" }
  | { readonly kind: "superseded" }
  | { readonly kind: "refused"; readonly refusal: Refusal };

const UNCHANGED: Decision = { kind: "unchanged" };
const INT64_MAX = 2n ** 63n - 1n;
const NOTHING = { versions: [] };
const NO_TALLY: Tally = { plus: 0n, minus: 0n };

function refuse(refusal: Refusal): Decision {
  return { kind: "refused", refusal };
}

/** Decides one write. */
export function decide(moment: Moment, op: Op): Decision {
  const { stored, origin } = moment;
  if (stored !== undefined && isOvertaken(stored, origin)) return refuse(TASK_OVERTAKEN);
  switch (op.kind) {
    case "put":
      return decidePut(moment, op);
    case "delete":
      return decideDelete(moment, op);
    case "increment":
      return decideIncrement(moment, op);
    case "resolve":
      return decideResolve(moment, op);
    case "expire":
      return decideExpiry(moment);
    case "purge":
      return decidePurge(moment);
  }
}

/** The fence grows with each attempt of a task, so an earlier one can be told for certain from whatever of a later one still stands:
 * its versions, or the key's last change. */
function isOvertaken({ origin, versions }: Entry, { taskId, fence }: Origin): boolean {
  if (taskId === "") return false;
  const isLaterAttempt = (by: Origin): boolean => by.taskId === taskId && by.fence > fence;
  return isLaterAttempt(origin) || versions.some((version) => isLaterAttempt(version.origin));
}

function decidePut(moment: Moment, op: PutOp): Decision {
  const { rules } = moment;
  if (rules.policy === "counter") {
    return refuse(policyMismatch("A COUNTER bucket is changed by increments."));
  }
  const { byteLength } = op.data;
  const { valueBytesMax } = rules.quota;
  if (byteLength > valueBytesMax) return refuse(valueTooLarge(byteLength, valueBytesMax));
  const refusal = termsProblem(moment, op);
  if (refusal !== undefined) return refuse(refusal);
  const version = versionOf(moment, op);
  if (rules.policy === "lww") return putLast(moment, op, version);
  if (rules.policy === "vector") return putBeside(moment, op, version);
  return changed(moment, "put", { versions: [version], expiresAtMs: expiry(moment, op.ttlMs) });
}

/** What is the same for every policy: the expected revision, and that fields belong to the policy. */
function termsProblem({ rules, stored, nowMs }: Moment, op: PutOp | DeleteOp): Refusal | undefined {
  const { expectedRevision, context, time } = op;
  if (context !== undefined && context.byteLength > 0 && rules.policy !== "vector") {
    return policyMismatch("Only a VECTOR bucket knows contexts.");
  }
  if (time !== undefined && rules.policy !== "lww") {
    return policyMismatch("Only an LWW bucket takes a writer's time.");
  }
  if (expectedRevision === undefined) {
    return rules.policy === "cas" ? REVISION_REQUIRED : undefined;
  }
  const found = revisionOf(stored, nowMs);
  return found === expectedRevision ? undefined : revisionMismatch(op.key, expectedRevision, found);
}

/** The key's revision as callers see it: 0 when it has no value. */
export function revisionOf(stored: Entry | undefined, nowMs: number): bigint {
  return isLive(stored, nowMs) ? stored.revision : 0n;
}

function versionOf(
  { revision, origin }: Moment,
  { contentType, data }: { readonly contentType: string; readonly data: Uint8Array },
): Version {
  return { id: revision, contentType, data, origin };
}

function putLast(moment: Moment, op: PutOp, version: Version): Decision {
  const time = momentOf(moment, op);
  if ("reason" in time) return refuse(time);
  if (isLater(moment.stored, time)) return { kind: "superseded" };
  const expiresAtMs = expiry(moment, op.ttlMs);
  return changed(moment, "put", { versions: [version], time, expiresAtMs });
}

function momentOf(moment: Moment, { time }: WriteTerms): HybridTime | Refusal {
  const { stored, nowMs, origin, rememberedMs } = moment;
  if (time === undefined) return nextTime(stored?.time, nowMs, origin.principalId);
  const claimed = { ...time, node: origin.principalId };
  const problem = timeProblem(claimed, nowMs, rememberedMs);
  return problem === undefined ? claimed : timeInvalid(problem);
}

/** What is stored wins unless it is before. */
function isLater(stored: Entry | undefined, time: HybridTime): boolean {
  return stored?.time !== undefined && compareTimes(stored.time, time) >= 0;
}

function putBeside(moment: Moment, op: PutOp, version: Version): Decision {
  const seen = contextOf(moment, op);
  if (seen === undefined) return refuse(CONTEXT_INVALID);
  const unseen = liveVersions(moment).filter(({ id }) => !covers(seen, id));
  const versions = [...unseen, version];
  if (isTooMuch(versions)) return refuse(SIBLING_LIMIT);
  const context = contextAfter(seen, moment.revision, unseen.length);
  const expiresAtMs = expiryBeside(moment, unseen, op.ttlMs);
  return changed(moment, "put", { versions, expiresAtMs }, context);
}

/** An entry must stay small enough to be read as a whole. */
function isTooMuch(versions: readonly Version[]): boolean {
  let bytes = 0;
  for (const { data } of versions) bytes += data.byteLength;
  return versions.length > SIBLINGS_MAX || (versions.length > 1 && bytes > ENTRY_BYTES_MAX);
}

function contextOf({ rules, revision }: Moment, op: PutOp | DeleteOp): CausalContext | undefined {
  if (op.context === undefined) return NOTHING_SEEN;
  return tryDecodeContext(op.context, rules.bucketId, op.key, revision - 1n);
}

function liveVersions({ stored, nowMs }: Moment): readonly Version[] {
  return isLive(stored, nowMs) ? stored.versions : [];
}

function decideDelete(moment: Moment, op: DeleteOp): Decision {
  const { rules, stored, nowMs } = moment;
  const refusal = termsProblem(moment, op);
  if (refusal !== undefined) return refuse(refusal);
  if (rules.policy === "vector") return deleteSeen(moment, op);
  if (rules.policy !== "lww") {
    return isLive(stored, nowMs) ? changed(moment, "delete", NOTHING) : UNCHANGED;
  }
  // A deletion that came before the value it is about must be remembered, or the value would stay.
  if (op.time === undefined && !isLive(stored, nowMs)) return UNCHANGED;
  const time = momentOf(moment, op);
  if ("reason" in time) return refuse(time);
  if (isLater(stored, time)) return { kind: "superseded" };
  return changed(moment, "delete", { time });
}

function deleteSeen(moment: Moment, op: DeleteOp): Decision {
  if (op.context === undefined || op.context.byteLength === 0) return refuse(CONTEXT_REQUIRED);
  const seen = contextOf(moment, op);
  if (seen === undefined) return refuse(CONTEXT_INVALID);
  const versions = liveVersions(moment);
  const unseen = versions.filter(({ id }) => !covers(seen, id));
  if (unseen.length === versions.length) return UNCHANGED;
  const context = contextAfter(seen, moment.revision, unseen.length);
  const { expiresAtMs } = moment.stored as Entry;
  return changed(moment, "delete", { versions: unseen, expiresAtMs }, context);
}

function decideIncrement(moment: Moment, { delta, ttlMs }: IncrementOp): Decision {
  const { rules, stored, nowMs } = moment;
  if (rules.policy !== "counter") {
    return refuse(policyMismatch("Only a COUNTER bucket has something to add to."));
  }
  if (delta === 0n) return UNCHANGED;
  const before = isLive(stored, nowMs) ? (stored.tally ?? NO_TALLY) : NO_TALLY;
  const tally =
    delta > 0n
      ? { ...before, plus: before.plus + delta }
      : { ...before, minus: before.minus - delta };
  if (tally.plus > INT64_MAX || tally.minus > INT64_MAX) return refuse(COUNTER_RANGE);
  const keeps = ttlMs === undefined && isLive(stored, nowMs);
  const expiresAtMs = keeps ? stored.expiresAtMs : expiry(moment, ttlMs);
  return changed(moment, "put", { tally, expiresAtMs });
}

function decideResolve(moment: Moment, { versionIds, value, ttlMs }: ResolveOp): Decision {
  const { rules } = moment;
  if (rules.policy !== "vector") {
    return refuse(policyMismatch("Only a VECTOR bucket has versions to resolve."));
  }
  const { valueBytesMax } = rules.quota;
  const bytes = value?.data.byteLength ?? 0;
  if (bytes > valueBytesMax) return refuse(valueTooLarge(bytes, valueBytesMax));
  const versions = liveVersions(moment);
  const named = new Set(versionIds);
  const left = versions.filter(({ id }) => !named.has(id));
  if (versions.length - left.length !== named.size) return refuse(VERSION_GONE);
  const kept = value === undefined ? left : [...left, versionOf(moment, value)];
  // Who names some of the versions need not have seen the others: only what it wrote is sure.
  const context = contextAfter(NOTHING_SEEN, moment.revision, left.length);
  const expiresAtMs = expiryBeside(moment, left, ttlMs);
  return changed(moment, "delete", { versions: kept, expiresAtMs }, context);
}

function decideExpiry(moment: Moment): Decision {
  const { rules, stored, nowMs, origin } = moment;
  if (stored === undefined || !isExpired(stored, nowMs)) return UNCHANGED;
  if (rules.policy !== "lww") return changed(moment, "expire", NOTHING);
  // Of when its time was over, not of when somebody looked: a write of between the two is after it.
  const endMs = stored.expiresAtMs ?? nowMs;
  return changed(moment, "expire", { time: nextTime(stored.time, endMs, origin.principalId) });
}

function decidePurge({ stored, nowMs, rememberedMs }: Moment): Decision {
  if (stored === undefined || !stored.deleted) return UNCHANGED;
  return forgottenAtMs(stored, rememberedMs) <= nowMs ? { kind: "forget" } : UNCHANGED;
}

function expiry({ rules, nowMs }: Moment, ttlMs: number | undefined): number | undefined {
  const lifeMs = ttlMs ?? rules.defaultTtlMs;
  return lifeMs === undefined ? undefined : nowMs + lifeMs;
}

/** A key has one time for all its versions, so nobody shortens that of versions that it had not seen. */
function expiryBeside(
  moment: Moment,
  unseen: readonly Version[],
  ttlMs: number | undefined,
): number | undefined {
  const own = expiry(moment, ttlMs);
  if (unseen.length === 0) return own;
  const before = moment.stored?.expiresAtMs;
  return own === undefined || before === undefined ? undefined : Math.max(own, before);
}

/** The key after the change; what has neither a version nor a sum is remembered as deleted. */
function changed(
  { key, revision, origin }: Moment,
  change: ChangeKind,
  what: Pick<EntryInit, "versions" | "tally" | "expiresAtMs"> & { readonly time?: HybridTime },
  context?: CausalContext,
): Decision {
  const deleted = (what.versions ?? []).length === 0 && what.tally === undefined;
  const entry = createEntry({
    key,
    revision,
    origin,
    deleted,
    time: what.time,
    versions: what.versions ?? [],
    tally: what.tally,
    expiresAtMs: deleted ? undefined : what.expiresAtMs,
  });
  return { kind: "change", change: deleted ? change : "put", entry, context };
}
