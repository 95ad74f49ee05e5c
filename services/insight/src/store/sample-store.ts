/** The table task_samples: written in large batches, each sample once. */
import { type Pool, type Queryable, withTransaction } from "@nexus/postgres";
import type { SampleStore } from "../domain/ports.ts";
import { SAMPLE_AGE_MAX_MS, type TaskSample } from "../domain/task-sample.ts";
import { keepDayPartitions } from "./day-partitions.ts";

/** Key of the advisory lock that whoever stores samples takes: "NXSA". */
const INTAKE_LOCK = 0x4e585341;

/** A sample may be a day old when it arrives, and that day's midnight may pass meanwhile. */
export const SAMPLE_DAYS_BACK = 2;

/** A sample may be sent again for as long as its time is accepted, and then a little longer. */
const KEY_MEMORY_MS = SAMPLE_AGE_MAX_MS + 3_600_000;

const INSERT = `
  WITH input AS (
    SELECT * FROM unnest(
      $1::text[], $2::text[], $3::float8[], $4::text[], $5::text[], $6::text[], $7::text[],
      $8::integer[], $9::boolean[], $10::text[], $11::bigint[], $12::bigint[]) WITH ORDINALITY
      AS sample (namespace, sample_id, measured_at_ms, job_id, task_id, capability, agent_id,
        attempt, success, reason, queue_us, run_us, position)
  ), fresh AS MATERIALIZED (
    SELECT * FROM input i WHERE NOT EXISTS (
      SELECT 1 FROM sample_keys k WHERE k.namespace = i.namespace AND k.sample_id = i.sample_id)
  ), remembered AS (
    INSERT INTO sample_keys (namespace, sample_id) SELECT namespace, sample_id FROM fresh
  ), stored AS (
    INSERT INTO task_samples (namespace, measured_at, job_id, task_id, capability, agent_id, attempt, success,
      reason, queue_us, run_us)
    SELECT namespace, to_timestamp(measured_at_ms / 1000), job_id, task_id, capability, agent_id, attempt, success,
      reason, queue_us, run_us
    FROM fresh ORDER BY position
  )
  SELECT position::integer FROM fresh`;

/** Creates the store. */
export function createSampleStore(pool: Pool): SampleStore {
  return {
    insert: (batches) => withTransaction(pool, (tx) => insert(tx, batches)),
    keepPartitions: async (retentionMs) => {
      await keepDayPartitions(pool, "task_samples", {
        daysBack: SAMPLE_DAYS_BACK,
        keptMs: retentionMs,
      });
      await keepDayPartitions(pool, "sample_keys", { daysBack: 1, keptMs: KEY_MEMORY_MS });
    },
  };
}

/** A sample of one of the batches that came first under its id. */
interface Entry {
  readonly origin: number;
  readonly sample: TaskSample;
}

async function insert(
  tx: Queryable,
  batches: readonly (readonly TaskSample[])[],
): Promise<number[]> {
  const entries = distinctEntries(batches);
  // Makes the look at the keys and the numbering of samples one step for everybody. A flush of 512 samples holds it for some
  // 10 ms, and all callers share a flush.
  await tx.query("SELECT pg_advisory_xact_lock($1)", [INTAKE_LOCK]);
  const { rows } = await tx.query<{ position: number }>({
    name: "insert-samples",
    text: INSERT,
    values: columnsOf(entries.map(({ sample }) => sample)),
  });
  const stored = batches.map(() => 0);
  for (const { position } of rows) {
    const origin = entries[position - 1]?.origin ?? 0;
    stored[origin] = (stored[origin] ?? 0) + 1;
  }
  return stored;
}

function distinctEntries(batches: readonly (readonly TaskSample[])[]): Entry[] {
  const first = new Map<string, Entry>();
  for (const [origin, batch] of batches.entries()) {
    for (const sample of batch) {
      const id = `${sample.namespace}\n${sample.sampleId}`;
      if (!first.has(id)) first.set(id, { origin, sample });
    }
  }
  return [...first.values()];
}

function columnsOf(samples: readonly TaskSample[]): unknown[] {
  const column = <T>(of: (sample: TaskSample) => T): T[] => samples.map(of);
  return [
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
