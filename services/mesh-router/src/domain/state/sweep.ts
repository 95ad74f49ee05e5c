/** What time does to state: keys end, deleted ones are forgotten, old changes and deleted buckets go. */
import { toError } from "./refusals.ts";
import {
  DROP_BATCH,
  LOG_TRIM_BUCKETS,
  LOG_TRIM_ROWS,
  SWEEP_BATCH,
  SWEEP_ROUNDS_MAX,
} from "./state-limits.ts";
import type { StateEvents } from "./state-ports.ts";
import type { StateQueue } from "./state-queue.ts";
import type { CallResult, SweepOp, WriteCall, Writer } from "./write.ts";

/** A place in the order of what is due. */
export interface DuePlace {
  /** As the database writes it. */
  readonly dueAt: string;
  readonly bucketId: string;
  readonly key: string;
}

/** A key whose time is over, or that is deleted for long enough. */
export interface DueKey extends DuePlace {
  readonly namespace: string;
  readonly bucket: string;
  readonly deleted: boolean;
}

/** What a sweep reads and removes. */
export interface SweepStore {
  /** The keys that are due, the longest first, behind a place; undefined: from the beginning. */
  due(after: DuePlace | undefined, limit: number): Promise<readonly DueKey[]>;
  /** Cuts the log of buckets that keep too much of it, from `after` on; the number of rows, and the last bucket looked at. */
  trim(
    after: bigint,
    buckets: number,
  ): Promise<{ readonly rows: number; readonly last: bigint | undefined }>;
  /** Removes rows of deleted buckets. */
  drop(limit: number): Promise<number>;
}

const NOBODY: Writer = { principalId: "", taskId: "", fence: 0n, traceId: "" };

type SweepCall = WriteCall & { readonly ops: SweepOp[] };

/** Makes the step that ends and forgets what is due, through the same queue as every write.
 *
 * What cannot be ended now is passed over until the sweep begins anew, so that it does not keep the rest from its end. */
export function createKeySweep(deps: SweepDeps): (signal: AbortSignal) => Promise<void> {
  let after: DuePlace | undefined;
  return async (signal) => {
    for (let round = 0; round < SWEEP_ROUNDS_MAX && !signal.aborted; round += 1) {
      const due = await deps.store.due(after, SWEEP_BATCH);
      await sweepSome(deps, due, signal);
      after = due.length < SWEEP_BATCH ? undefined : due.at(-1);
      if (after === undefined) return;
    }
  };
}

async function sweepSome(
  { queue, events }: SweepDeps,
  due: readonly DueKey[],
  signal: AbortSignal,
): Promise<void> {
  const calls = [...groupDue(due, signal).values()];
  const settled = await Promise.allSettled(calls.map((call) => queue.write(call)));
  const counts = { expire: 0, purge: 0 };
  let problem: unknown;
  for (const [at, result] of settled.entries()) {
    if (result.status === "rejected") problem ??= result.reason;
    else problem ??= count(counts, calls[at] as SweepCall, result.value);
  }
  if (counts.purge > 0) events.stateSwept("purged", counts.purge);
  if (counts.expire > 0) events.stateSwept("expired", counts.expire);
  if (problem !== undefined && !signal.aborted) events.stateSweepFailed(problem);
}

/** Counts what was done; the error when the call was refused, unless its bucket is gone with all its keys. */
function count(counts: Record<SweepOp["kind"], number>, { ops }: SweepCall, result: CallResult) {
  if (result.kind === "refused") {
    return result.refusal.kind === "not_found" ? undefined : toError(result.refusal);
  }
  for (const [at, { status }] of result.results.entries()) {
    if (status === "applied") counts[(ops[at] as SweepOp).kind] += 1;
  }
  return undefined;
}

function groupDue(due: readonly DueKey[], signal: AbortSignal): Map<string, SweepCall> {
  const calls = new Map<string, SweepCall>();
  for (const { namespace, bucket, key, deleted } of due) {
    const name = `${namespace}/${bucket}`;
    const call = calls.get(name) ?? sweepCall(namespace, bucket, signal);
    calls.set(name, call);
    call.ops.push({ kind: deleted ? "purge" : "expire", key });
  }
  return calls;
}

function sweepCall(namespace: string, bucket: string, signal: AbortSignal) {
  return {
    namespace,
    bucket,
    name: undefined,
    writer: NOBODY,
    preconditions: [],
    ops: [],
    atomic: false,
    isGivenUp: () => signal.aborted,
  };
}

/** What a sweep needs. */
export interface SweepDeps {
  readonly store: SweepStore;
  readonly queue: Pick<StateQueue, "write">;
  readonly events: StateEvents;
}

/** Cuts the logs of all buckets. */
export async function sweepLogs({ store, events }: SweepDeps, signal: AbortSignal): Promise<void> {
  let after: bigint | undefined = 0n;
  while (after !== undefined && !signal.aborted) {
    const { rows, last } = await store.trim(after, LOG_TRIM_BUCKETS);
    if (rows > 0) events.stateSwept("trimmed", rows);
    // So many rows mean that there may be more.
    if (rows < LOG_TRIM_ROWS) after = last;
  }
}

/** Removes what deleted buckets left. */
export async function sweepDropped(
  { store, events }: SweepDeps,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const dropped = await store.drop(DROP_BATCH);
    if (dropped === 0) return;
    events.stateSwept("dropped", dropped);
  }
}
