/** Holds what open jobs count against the tasks that they have. */
import type { Queryable } from "@nexus/postgres";
import type { TaskCounts } from "../domain/job-state.ts";
import { TASK_BUCKETS, TASK_STATES, type TaskBucket } from "../domain/task-state.ts";
import { jobUuid, toJobId } from "./row-ids.ts";
import { STATE } from "./state-row.ts";

const BUCKETS: readonly TaskBucket[] = [...new Set(Object.values(TASK_BUCKETS))];

function countOf(bucket: TaskBucket): string {
  const states = TASK_STATES.filter((state) => TASK_BUCKETS[state] === bucket);
  return `count(*) FILTER (WHERE ${STATE} IN (${states.map((state) => `'${state}'`).join(", ")}))::int AS ${bucket}`;
}

const NAMES = ["total", ...BUCKETS];

const MISCOUNTED = {
  name: "recount-miscounted",
  text: `
    SELECT j.job_id, ${NAMES.map((name) => `n.${name} - j.${name} AS ${name}`).join(", ")}
      FROM jobs j CROSS JOIN LATERAL (
        SELECT count(*)::int AS total, ${BUCKETS.map(countOf).join(", ")}
          FROM tasks t LEFT JOIN task_states s USING (task_id)
         WHERE t.job_id = j.job_id
      ) n
     WHERE j.job_id = ANY($1::uuid[]) AND j.ended_at IS NULL
       AND (${NAMES.map((name) => `n.${name}`).join(", ")}) IS DISTINCT FROM (${NAMES.map((name) => `j.${name}`).join(", ")})`,
};

/** An open job that counts other tasks than it has, and by how many each count is off. */
export interface Miscount {
  readonly jobId: string;
  readonly counts: TaskCounts;
}

/** Returns those of the jobs that count other tasks than they have. Tasks and counts change in the same transactions, so one statement sees
 * them agree whenever it looks.
 *
 * Cost: 1 statement, which reads every task of the jobs. */
export async function findMiscounted(
  client: Queryable,
  jobIds: readonly string[],
): Promise<Miscount[]> {
  if (jobIds.length === 0) return [];
  const { rows } = await client.query<{ readonly job_id: string } & TaskCounts>(MISCOUNTED, [
    jobIds.map(jobUuid),
  ]);
  return rows.map(({ job_id, ...counts }) => ({ jobId: toJobId(job_id), counts }));
}
