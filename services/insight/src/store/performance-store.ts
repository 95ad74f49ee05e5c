/** Sums over task_samples. Exact quantiles by sorting: the window and the statement timeout bound the work. */
import type { Pool, Queryable } from "@nexus/postgres";
import {
  FAILURE_REASONS_MAX,
  type Latency,
  type NamedPerformance,
  type Performance,
} from "../domain/performance.ts";
import type { Grouping, PerformanceFilter, PerformanceStore } from "../domain/ports.ts";

const JOB_AGENTS_MAX = 1_000;
const COLUMN: Readonly<Record<Grouping, string>> = { agent: "agent_id", capability: "capability" };

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

/** Which rows a query is about: SQL with parameters from $1 on, never a caller's text. */
interface Scope {
  readonly where: string;
  readonly values: readonly unknown[];
}

/** Creates the store. */
export function createPerformanceStore(pool: Pool): PerformanceStore {
  return {
    list: async (grouping, filter, page) => {
      const scope = listScope(filter);
      const names = await pageOfNames(pool, COLUMN[grouping], scope, page);
      if (names.length === 0) return [];
      return summarise(pool, COLUMN[grouping], within(scope, COLUMN[grouping], names));
    },
    job: async (namespace, jobId) => {
      const scope = { where: "namespace = $1 AND job_id = $2", values: [namespace, jobId] };
      const [total] = await summarise(pool, "job_id", scope);
      if (total === undefined) return undefined;
      const agents = await summarise(pool, "agent_id", scope);
      return { total: total.performance, agents: agents.slice(0, JOB_AGENTS_MAX) };
    },
  };
}

function listScope({ namespace, windowMs, agentId, capability }: PerformanceFilter): Scope {
  return {
    where: `namespace = $1 AND measured_at > now() - make_interval(secs => $2::float8 / 1000)
      AND ($3 = '' OR agent_id = $3) AND ($4 = '' OR capability = $4)`,
    values: [namespace, windowMs, agentId, capability],
  };
}

function within(scope: Scope, column: string, names: readonly string[]): Scope {
  const values = [...scope.values, names];
  return { where: `${scope.where} AND ${column} = ANY ($${values.length}::text[])`, values };
}

async function pageOfNames(
  db: Queryable,
  column: string,
  scope: Scope,
  page: { readonly afterName: string; readonly limit: number },
): Promise<string[]> {
  const values = [...scope.values, page.afterName, page.limit];
  const { rows } = await db.query<{ name: string }>(
    `SELECT ${column} AS name FROM task_samples
     WHERE ${scope.where} AND ${column} > $${values.length - 1}
     GROUP BY ${column} ORDER BY ${column} LIMIT $${values.length}`,
    values,
  );
  return rows.map(({ name }) => name);
}

async function summarise(db: Queryable, column: string, scope: Scope): Promise<NamedPerformance[]> {
  const { rows } = await db.query<SumsRow>(
    `SELECT ${column} AS name, ${SUMS} FROM task_samples WHERE ${scope.where}
     GROUP BY ${column} ORDER BY ${column}`,
    scope.values,
  );
  const failures = await failuresByName(db, column, scope);
  return rows.map((row) => ({
    name: row.name,
    performance: toPerformance(row, failures.get(row.name) ?? new Map<string, number>()),
  }));
}

async function failuresByName(
  db: Queryable,
  column: string,
  scope: Scope,
): Promise<Map<string, Map<string, number>>> {
  const { rows } = await db.query<{ name: string; reason: string; count: number }>(
    `SELECT name, reason, count FROM (
       SELECT ${column} AS name, reason, count(*)::float8 AS count,
         row_number() OVER (PARTITION BY ${column} ORDER BY count(*) DESC, reason) AS place
       FROM task_samples WHERE ${scope.where} AND NOT success GROUP BY ${column}, reason) AS ranked
     WHERE place <= ${FAILURE_REASONS_MAX} ORDER BY name, place`,
    scope.values,
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
