/** The table task_samples: written in large batches, each sample once. */
import { type Pool, withTransaction } from "@nexus/postgres";
import type { SampleStore } from "../domain/ports.ts";
import { SAMPLE_AGE_MAX_MS, type TaskSample } from "../domain/task-sample.ts";

const DAYS_AHEAD = 2;
const PRUNE_ROWS_MAX = 50_000;
/** Creating and dropping partitions waits for readers; it gives up soon, since everybody else would queue behind it. */
const LOCK_TIMEOUT = "1s";

/** Of samples with the same id, in this batch or before, the first one counts. */
const INSERT = `
  WITH input AS (
    SELECT DISTINCT ON (namespace, sample_id) * FROM unnest(
      $1::integer[], $2::text[], $3::text[], $4::float8[], $5::text[], $6::text[], $7::text[], $8::text[],
      $9::integer[], $10::boolean[], $11::text[], $12::bigint[], $13::bigint[])
      AS sample (origin, namespace, sample_id, measured_at_ms, job_id, task_id, capability, agent_id,
        attempt, success, reason, queue_us, run_us)
    ORDER BY namespace, sample_id
  ), fresh AS (
    INSERT INTO sample_keys (namespace, sample_id) SELECT namespace, sample_id FROM input
    ON CONFLICT ON CONSTRAINT sample_keys_pkey DO NOTHING
    RETURNING namespace, sample_id
  ), stored AS (
    INSERT INTO task_samples (namespace, measured_at, job_id, task_id, capability, agent_id, attempt, success,
      reason, queue_us, run_us)
    SELECT namespace, to_timestamp(measured_at_ms / 1000), job_id, task_id, capability, agent_id, attempt, success,
      reason, queue_us, run_us
    FROM input JOIN fresh USING (namespace, sample_id)
  )
  SELECT origin, count(*)::integer AS stored FROM input JOIN fresh USING (namespace, sample_id) GROUP BY origin`;

/** Creates the store. */
export function createSampleStore(pool: Pool): SampleStore {
  return {
    insert: async (batches) => {
      const { rows } = await pool.query<{ origin: number; stored: number }>({
        name: "insert-samples",
        text: INSERT,
        values: columnsOf(batches),
      });
      const counts = new Map(rows.map(({ origin, stored }) => [origin, stored]));
      return batches.map((_, index) => counts.get(index) ?? 0);
    },
    keepPartitions: async (retentionMs) => {
      await withTransaction(pool, async (tx) => {
        await tx.query(`SET LOCAL lock_timeout = '${LOCK_TIMEOUT}'`);
        await tx.query("SELECT create_sample_partitions($1)", [DAYS_AHEAD]);
        const drop = "SELECT drop_sample_partitions(make_interval(secs => $1::float8 / 1000))";
        await tx.query(drop, [retentionMs]);
      });
    },
    pruneKeys: async () => {
      const { rowCount } = await pool.query(
        `DELETE FROM sample_keys WHERE ctid = ANY (ARRAY(
           SELECT ctid FROM sample_keys WHERE seen_at < now() - make_interval(secs => $1::float8 / 1000)
           LIMIT $2))`,
        [KEY_MEMORY_MS, PRUNE_ROWS_MAX],
      );
      return rowCount;
    },
  };
}

/** A sample may be sent again for as long as its time is accepted, and then a little longer. */
const KEY_MEMORY_MS = SAMPLE_AGE_MAX_MS + 3_600_000;

function columnsOf(batches: readonly (readonly TaskSample[])[]): unknown[] {
  const rows = batches.flatMap((batch, origin) => batch.map((sample) => ({ origin, sample })));
  const column = <T>(of: (sample: TaskSample) => T): T[] => rows.map(({ sample }) => of(sample));
  return [
    rows.map(({ origin }) => origin),
    column((sample) => sample.namespace),
    column((sample) => sample.sampleId),
    column((sample) => sample.measuredAtMs),
    column((sample) => sample.jobId),
    column((sample) => sample.taskId),
    column((sample) => sample.capability),
    column((sample) => sample.agentId),
    column((sample) => sample.attempt),
    column((sample) => sample.success),
    column((sample) => sample.reason),
    column((sample) => sample.queueUs ?? null),
    column((sample) => sample.runUs ?? null),
  ];
}
