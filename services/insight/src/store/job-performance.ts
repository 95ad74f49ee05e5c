/** Sums over one job, exact: a job has at most some ten thousand attempts, and an index of its own. */
import type { Pool, Queryable } from "@nexus/postgres";
import {
  FAILURE_REASONS_MAX,
  type Latency,
  type NamedPerformance,
  type Performance,
} from "../domain/performance.ts";
import type { JobPerformance } from "../domain/ports.ts";

/** Agents listed for one job; the contract's number. */
const JOB_AGENTS_MAX = 1_000;

const SUMS = `
  count(*)::float8 AS attempts,
  count(*) FILTER (WHERE success)::float8 AS succeeded,
  count(queue_us)::float8 AS queue_count,
  avg(queue_us)::float8 AS queue_mean,
  max(queue_us)::float8 AS queue_max,
  percentile_disc(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY queue_us)::float8[] AS queue_quantiles,
  count(run_us) FILTER (WHERE success)::float8 AS run_count,
  avg(run_us) FILTER (WHERE success)::float8 AS run_mean,
  max(run_us) FILTER (WHERE success)::float8 AS run_max,
  (percentile_disc(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY run_us)
    FILTER (WHERE success))::float8[] AS run_quantiles`;

interface SumsRow {
  readonly name: string;
  readonly attempts: number;
  readonly succeeded: number;
  readonly queue_count: number;
  readonly queue_mean: number | null;
  readonly queue_max: number | null;
  readonly queue_quantiles: readonly (number | null)[] | null;
  readonly run_count: number;
  readonly run_mean: number | null;
  readonly run_max: number | null;
  readonly run_quantiles: readonly (number | null)[] | null;
}

/** One job; undefined when it has no samples. */
export async function readJob(
  pool: Pool,
  namespace: string,
  jobId: string,
): Promise<JobPerformance | undefined> {
  const [total] = await summarise(pool, "job_id", [namespace, jobId]);
  if (total === undefined) return undefined;
  const agents = await summarise(pool, "agent_id", [namespace, jobId]);
  return { total: total.performance, agents };
}

const OF_JOB = "namespace = $1 AND job_id = $2";

async function summarise(
  db: Queryable,
  column: "job_id" | "agent_id",
  job: readonly [string, string],
): Promise<NamedPerformance[]> {
  const { rows } = await db.query<SumsRow>(
    `SELECT ${column} AS name, ${SUMS} FROM task_samples WHERE ${OF_JOB}
     GROUP BY ${column} ORDER BY ${column} LIMIT ${JOB_AGENTS_MAX}`,
    job,
  );
  const failures = await failuresByName(db, column, job);
  return rows.map((row) => ({
    name: row.name,
    performance: toPerformance(row, failures.get(row.name) ?? new Map<string, number>()),
  }));
}

async function failuresByName(
  db: Queryable,
  column: "job_id" | "agent_id",
  job: readonly [string, string],
): Promise<Map<string, Map<string, number>>> {
  const { rows } = await db.query<{ name: string; reason: string; count: number }>(
    `SELECT name, reason, count FROM (
       SELECT ${column} AS name, reason, count(*)::float8 AS count,
         row_number() OVER (PARTITION BY ${column} ORDER BY count(*) DESC, reason) AS place
       FROM task_samples WHERE ${OF_JOB} AND NOT success GROUP BY ${column}, reason) AS ranked
     WHERE place <= ${FAILURE_REASONS_MAX} ORDER BY name, place`,
    job,
  );
  const byName = new Map<string, Map<string, number>>();
  for (const { name, reason, count } of rows) {
    const reasons = byName.get(name) ?? new Map<string, number>();
    reasons.set(reason, count);
    byName.set(name, reasons);
  }
  return byName;
}

function toPerformance(row: SumsRow, failuresByReason: Map<string, number>): Performance {
  return {
    attempts: row.attempts,
    succeeded: row.succeeded,
    failed: row.attempts - row.succeeded,
    queueTime: toLatency(row.queue_count, row.queue_mean, row.queue_max, row.queue_quantiles),
    runTime: toLatency(row.run_count, row.run_mean, row.run_max, row.run_quantiles),
    failuresByReason,
  };
}

function toLatency(
  count: number,
  mean: number | null,
  max: number | null,
  quantiles: readonly (number | null)[] | null,
): Latency {
  const [p50, p95, p99] = quantiles ?? [];
  return {
    count,
    meanUs: mean ?? undefined,
    p50Us: p50 ?? undefined,
    p95Us: p95 ?? undefined,
    p99Us: p99 ?? undefined,
    maxUs: max ?? undefined,
  };
}
