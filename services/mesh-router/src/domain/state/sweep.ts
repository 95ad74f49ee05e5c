/** What time does to state: keys end, deleted ones are forgotten, old changes and deleted buckets go. */
import {
  DROP_BATCH,
  LOG_TRIM_BUCKETS,
  LOG_TRIM_ROWS,
  SWEEP_BATCH,
  SWEEP_ROUNDS_MAX,
} from "./state-limits.ts";
import type { StateEvents } from "./state-ports.ts";
import type { StateQueue } from "./state-queue.ts";
import type { SweepOp, WriteCall, Writer } from "./write.ts";

/** A key whose time is over, or that is deleted for long enough. */
export interface DueKey {
  readonly namespace: string;
  readonly bucket: string;
  readonly key: string;
  readonly deleted: boolean;
}

/** What a sweep reads and removes. */
export interface SweepStore {
  /** The keys that are due, the longest first. */
  due(limit: number): Promise<readonly DueKey[]>;
  /** Cuts the log of buckets that keep too much of it, from `after` on; the number of rows, and the last bucket looked at. */
  trim(
    after: bigint,
    buckets: number,
  ): Promise<{ readonly rows: number; readonly last: bigint | undefined }>;
  /** Removes rows of deleted buckets. */
  drop(limit: number): Promise<number>;
}

const NOBODY: Writer = { principalId: "", taskId: "", fence: 0n, traceId: "" };

/** Ends and forgets what is due, through the same queue as every write. */
export async function sweepKeys(deps: SweepDeps, signal: AbortSignal): Promise<void> {
  for (let round = 0; round < SWEEP_ROUNDS_MAX && !signal.aborted; round += 1) {
    if ((await sweepSome(deps, signal)) < SWEEP_BATCH) return;
  }
}

async function sweepSome(
  { store, queue, events }: SweepDeps,
  signal: AbortSignal,
): Promise<number> {
  const due = await store.due(SWEEP_BATCH);
  const calls = new Map<string, WriteCall & { readonly ops: SweepOp[] }>();
  for (const { namespace, bucket, key, deleted } of due) {
    const name = `${namespace}/${bucket}`;
    const call = calls.get(name) ?? sweepCall(namespace, bucket, signal);
    calls.set(name, call);
    call.ops.push({ kind: deleted ? "purge" : "expire", key });
  }
  await Promise.all([...calls.values()].map((call) => queue.write(call)));
  const purged = due.filter(({ deleted }) => deleted).length;
  if (purged > 0) events.stateSwept("purged", purged);
  if (due.length > purged) events.stateSwept("expired", due.length - purged);
  return due.length;
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
  readonly queue: StateQueue;
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
