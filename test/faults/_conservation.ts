/** No task may vanish or double: in every state of the tables, what was submitted is blocked, ready, leased or ended. */
import { sleep } from "@nexus/shared";
import type { Bed } from "./_bed.ts";

const CHECK_INTERVAL_MS = 1_000;
const PROBLEMS_MAX = 5;

/** One snapshot: every open or ended job whose counters, states and rows do not agree. */
const UNBALANCED = `
  SELECT j.job_id, j.total, coalesce(n.tasks, 0) AS tasks, coalesce(n.blocked, 0) AS blocked,
         coalesce(n.ready, 0) AS ready, coalesce(n.leased, 0) AS leased, coalesce(n.ended, 0) AS ended,
         coalesce(n.odd, 0) AS odd
    FROM jobs j LEFT JOIN (
      SELECT t.job_id, count(*)::int AS tasks,
             count(*) FILTER (WHERE s.state = 'BLOCKED')::int AS blocked,
             (count(r.task_id) + count(p.task_id))::int AS ready,
             count(l.task_id)::int AS leased,
             count(*) FILTER (WHERE s.state IN ('SUCCEEDED', 'FAILED', 'CANCELLED', 'SKIPPED'))::int AS ended,
             count(*) FILTER (WHERE (coalesce(s.state, 'READY') = 'READY') <> (coalesce(r.task_id, p.task_id) IS NOT NULL)
               OR (coalesce(s.state, 'READY') IN ('LEASED', 'RUNNING')) <> (l.task_id IS NOT NULL))::int AS odd
        FROM tasks t
        LEFT JOIN task_states s USING (task_id)
        LEFT JOIN ready r USING (task_id)
        LEFT JOIN paused_ready p USING (task_id)
        LEFT JOIN leases l USING (task_id)
       GROUP BY t.job_id) AS n USING (job_id)
   WHERE (j.total, j.blocked, j.ready, j.active, j.succeeded + j.failed + j.cancelled + j.skipped)
      IS DISTINCT FROM (n.tasks, n.blocked, n.ready, n.leased, n.ended)
      OR n.tasks <> n.blocked + n.ready + n.leased + n.ended OR n.odd > 0
   LIMIT ${PROBLEMS_MAX}`;

const STRAYS = `
  SELECT count(*)::int AS strays FROM task_states s WHERE NOT EXISTS (SELECT 1 FROM tasks t WHERE t.task_id = s.task_id)`;

/** What a watch has seen. */
export interface Conservation {
  /** Looks at the tables that succeeded; the database may be away in between. */
  readonly checks: number;
  readonly problems: readonly string[];
}

/** Checks the tables every second until the signal aborts, and once after that. */
export async function watchConservation(bed: Bed, signal: AbortSignal): Promise<Conservation> {
  let checks = 0;
  const problems: string[] = [];
  while (!signal.aborted && problems.length === 0) {
    try {
      problems.push(...(await findImbalance(bed)));
      checks += 1;
    } catch {
      // The database is one of the things that are killed; the last look, below, must succeed.
    }
    await sleep(CHECK_INTERVAL_MS, signal).catch(() => undefined);
  }
  if (problems.length === 0) problems.push(...(await findImbalance(bed)));
  return { checks: checks + 1, problems };
}

async function findImbalance({ tables }: Bed): Promise<string[]> {
  const { rows } = await tables.query<Record<string, number>>(UNBALANCED);
  const strays = (await tables.query<{ strays: number }>(STRAYS)).rows[0]?.strays ?? 0;
  const unbalanced = rows.map((row) => `does not add up: ${JSON.stringify(row)}`);
  return strays === 0 ? unbalanced : [...unbalanced, `${strays} states of no task`];
}
