/** The state of a task that may have no row of its own for it: it waits for an agent since it was made, and none had it yet
 * (ADR 0037). */
import { type Queryable, uuidArray } from "@nexus/postgres";
import { jobUuid, taskUuid } from "./row-ids.ts";

/** Where a task is, over `tasks t LEFT JOIN task_states s`. */
export const STATE = "coalesce(s.state, 'READY')";

/** When it became ready, over the same. */
export const READY_AT = "CASE WHEN s.task_id IS NULL THEN t.created_at ELSE s.ready_at END";

/** Whether it waits for an agent and may be given to one, over the same: no paused job withholds it. */
export const WAITS = "(s.task_id IS NULL OR (s.state = 'READY' AND s.withheld_delay_ms IS NULL))";

/** How long it may wait for an agent from when it is ready, over the same. */
export const WAIT_MS = "coalesce(s.wait_ms, (t.spec->>'scheduleToStartMs')::bigint)";

const MAKE = `
    INSERT INTO task_states (task_id, job_id, state, pending, ready_at)
    SELECT t.task_id, t.job_id, 'READY', 0, t.created_at FROM tasks t`;
/** One that a claim inserts at the same moment is waited for; the statement that follows sees it as the claim left it. */
const UNLESS_MADE = "ON CONFLICT ON CONSTRAINT task_states_pkey DO NOTHING";

const MAKE_OF_TASKS = {
  name: "state-rows-of-tasks",
  text: `${MAKE} WHERE t.task_id = ANY($1::uuid[]) ${UNLESS_MADE}`,
};

const MAKE_OF_JOB = {
  name: "state-rows-of-job",
  text: `${MAKE} WHERE t.job_id = $1 ${UNLESS_MADE}`,
};

/** Gives tasks that have none their state rows, READY, so that the statements that follow find all of them there.
 *
 * Cost: 1 statement. */
export async function makeStateRows(client: Queryable, taskIds: readonly string[]): Promise<void> {
  await client.query(MAKE_OF_TASKS, [uuidArray(taskIds.map(taskUuid))]);
}

/** The same for every task of a job. */
export async function makeStateRowsOfJob(client: Queryable, jobId: string): Promise<void> {
  await client.query(MAKE_OF_JOB, [jobUuid(jobId)]);
}
