/** Everything that is stored of one job, to see whether anybody wrote to it. */
import { type Bed, uuidOf } from "./_bed.ts";

/** Tables whose rows name their job, and those whose rows name a task of it. */
const OF_JOB = ["jobs", "task_states", "job_events"];
const OF_TASK = ["past_attempts", "task_chunks"];

/** All rows of a job with the transactions that wrote them: any write since shows, even one that changes nothing. */
export async function rowsOf({ tables }: Bed, jobId: string): Promise<string> {
  const texts = [
    ...OF_JOB.map((name) => `SELECT x.xmin::text, x.* FROM ${name} x WHERE x.job_id = $1`),
    ...OF_TASK.map(
      (name) =>
        `SELECT x.xmin::text, x.* FROM ${name} x JOIN tasks t USING (task_id) WHERE t.job_id = $1`,
    ),
  ];
  const parts: unknown[] = [];
  for (const text of texts) {
    const ordered = `SELECT r.*, r::text AS whole FROM (${text}) r ORDER BY whole`;
    parts.push((await tables.query(ordered, [uuidOf(jobId)])).rows);
  }
  return JSON.stringify(parts);
}
