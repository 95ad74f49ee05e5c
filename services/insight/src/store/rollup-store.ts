/** The table task_rollups: packs of attempts are added to it in the order of their numbers, each once. */
import { type Pool, type Queryable, withTransaction } from "@nexus/postgres";
import { LatencySketch } from "../domain/latency-sketch.ts";
import { PerformanceTally } from "../domain/performance-tally.ts";
import type { RollupRound, RollupStore } from "../domain/ports.ts";
import { type RollupDelta, type RollupKey, rollUp, rollupId } from "../domain/rollup.ts";
import { keepDayPartitions } from "./day-partitions.ts";
import { ATTEMPT_DAYS_BACK, readPacks } from "./pack-store.ts";

const NOTHING: RollupRound = { packs: 0, attempts: 0 };

/** Creates the store. */
export function createRollupStore(pool: Pool): RollupStore {
  return {
    advance: (limit) => withTransaction(pool, (tx) => advance(tx, limit)),
    keepPartitions: (retentionMs) =>
      keepDayPartitions(pool, "task_rollups", { daysBack: ATTEMPT_DAYS_BACK, keptMs: retentionMs }),
  };
}

/** The state's row is the lock: the replica that has it rolls up, the others have nothing to do. */
async function advance(tx: Queryable, limit: number): Promise<RollupRound> {
  const state = await tx.query<{ rolled_through: string }>(
    "SELECT rolled_through FROM rollup_state FOR UPDATE SKIP LOCKED",
  );
  const from = state.rows[0]?.rolled_through;
  if (from === undefined) return NOTHING;
  const packs = await readPacks(tx, { where: "true", values: [] }, { after: from, limit });
  const last = packs.at(-1);
  if (last === undefined) return NOTHING;
  const deltas = rollUp(packs);
  await addExisting(tx, deltas);
  await upsert(tx, deltas);
  await tx.query("UPDATE rollup_state SET rolled_through = $1", [last.sequence]);
  const attempts = packs.reduce((sum, pack) => sum + pack.attempts.length, 0);
  return { packs: packs.length, attempts };
}

/** The sums of a row, as they are stored. */
export interface TallyRow {
  readonly attempts: string;
  readonly succeeded: string;
  readonly failures: Readonly<Record<string, number>>;
  readonly queue_sketch: Buffer;
  readonly run_sketch: Buffer;
}

/** Reads stored sums. */
export function toTally(row: TallyRow): PerformanceTally {
  const tally = new PerformanceTally({
    queue: LatencySketch.decode(row.queue_sketch),
    run: LatencySketch.decode(row.run_sketch),
  });
  tally.attempts = Number(row.attempts);
  tally.succeeded = Number(row.succeeded);
  for (const [reason, count] of Object.entries(row.failures)) tally.addFailures(reason, count);
  return tally;
}

interface StoredRollup extends TallyRow {
  readonly namespace: string;
  readonly width: RollupKey["width"];
  readonly bucket_ms: number;
  readonly agent_id: string;
  readonly capability: string;
}

/** Adds what is stored already to the deltas. Nobody else changes it meanwhile: the state's row is locked. */
async function addExisting(tx: Queryable, deltas: readonly RollupDelta[]): Promise<void> {
  const byId = new Map(deltas.map((delta) => [rollupId(delta.key), delta]));
  const { rows } = await tx.query<StoredRollup>({
    name: "read-rollups",
    text: `SELECT r.namespace, r.width, (extract(epoch FROM r.bucket) * 1000)::float8 AS bucket_ms, r.agent_id,
        r.capability, r.attempts, r.succeeded, r.failures, r.queue_sketch, r.run_sketch
      FROM unnest($1::text[], $2::text[], $3::float8[], $4::text[], $5::text[])
        AS k(namespace, width, bucket_ms, agent_id, capability)
      JOIN task_rollups r ON r.namespace = k.namespace AND r.width = k.width AND r.capability = k.capability
        AND r.agent_id = k.agent_id AND r.bucket = to_timestamp(k.bucket_ms / 1000)`,
    values: keyColumns(deltas),
  });
  for (const row of rows) {
    const key = {
      namespace: row.namespace,
      width: row.width,
      bucketMs: row.bucket_ms,
      agentId: row.agent_id,
      capability: row.capability,
    };
    byId.get(rollupId(key))?.tally.merge(toTally(row));
  }
}

async function upsert(tx: Queryable, deltas: readonly RollupDelta[]): Promise<void> {
  const tallies = deltas.map(({ tally }) => tally);
  await tx.query({
    name: "upsert-rollups",
    text: `INSERT INTO task_rollups (namespace, width, bucket, agent_id, capability, attempts, succeeded, failures,
        queue_sketch, run_sketch)
      SELECT namespace, width, to_timestamp(bucket_ms / 1000), agent_id, capability, attempts, succeeded,
        failures::jsonb, queue_sketch, run_sketch
      FROM unnest($1::text[], $2::text[], $3::float8[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::text[],
        $9::bytea[], $10::bytea[])
        AS r(namespace, width, bucket_ms, agent_id, capability, attempts, succeeded, failures, queue_sketch, run_sketch)
      ON CONFLICT ON CONSTRAINT task_rollups_key DO UPDATE SET attempts = excluded.attempts,
        succeeded = excluded.succeeded, failures = excluded.failures, queue_sketch = excluded.queue_sketch,
        run_sketch = excluded.run_sketch`,
    values: [
      ...keyColumns(deltas),
      tallies.map(({ attempts }) => attempts),
      tallies.map(({ succeeded }) => succeeded),
      tallies.map(({ failures }) => JSON.stringify(Object.fromEntries(failures))),
      tallies.map(({ queue }) => queue.encode()),
      tallies.map(({ run }) => run.encode()),
    ],
  });
}

function keyColumns(deltas: readonly RollupDelta[]): unknown[] {
  return [
    deltas.map(({ key }) => key.namespace),
    deltas.map(({ key }) => key.width),
    deltas.map(({ key }) => key.bucketMs),
    deltas.map(({ key }) => key.agentId),
    deltas.map(({ key }) => key.capability),
  ];
}
