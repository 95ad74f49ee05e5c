/** Whether the failures of a job are all tolerated by the edges behind them. */
import type { Queryable } from "@nexus/postgres";
import { jobUuid, toJobId } from "./row-ids.ts";

const TOLERATED = {
  name: "verdict-tolerated",
  text: `
    SELECT j.job_id
      FROM unnest($1::uuid[]) AS j(job_id)
     WHERE EXISTS (
             SELECT FROM tasks t JOIN task_states s USING (task_id)
              WHERE t.job_id = j.job_id AND t.sink AND NOT t.planning AND s.state = 'SUCCEEDED')
       AND NOT EXISTS (
             SELECT FROM tasks t JOIN task_states s USING (task_id)
              WHERE t.job_id = j.job_id AND s.state = 'FAILED'
                AND (t.sink OR t.spec->>'cancelSiblingsOnFailure' = 'true'
                     OR EXISTS (SELECT FROM edges e WHERE e.parent_id = t.task_id AND e.on_failure = 'FAIL')))`,
};

/** Returns those of the jobs, all of whose tasks are terminal, that failed only where edges tolerate it and that have a
 * result all the same.
 *
 * Asked once in a job's life, and only of jobs in which something failed and something succeeded.   Cost: 1 statement. */
export async function findTolerated(
  client: Queryable,
  jobIds: readonly string[],
): Promise<Set<string>> {
  if (jobIds.length === 0) return new Set();
  const { rows } = await client.query<{ job_id: string }>(TOLERATED, [jobIds.map(jobUuid)]);
  return new Set(rows.map((row) => toJobId(row.job_id)));
}
