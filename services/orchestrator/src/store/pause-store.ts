/** Pause and resume: withholds what waits for an agent and lets it go again, with what is left on its clocks. */
import { type Queryable, uuidArray } from "@nexus/postgres";
import type { JobState } from "../domain/job-state.ts";
import type { LiveTask } from "../domain/live-task.ts";
import { LIVE_TASK_COLUMNS, type LiveTaskRow, toLiveTask } from "./live-task-row.ts";
import { jobUuid, taskUuid, toJobId, toTaskId } from "./row-ids.ts";
import { makeStateRows, makeStateRowsOfJob, WAIT_MS, WAITS } from "./state-row.ts";

/** A delay and a wait do not run into each other: the wait for an agent begins when the delay is over. */
const WITHHOLD = `
    UPDATE task_states s
       SET withheld_delay_ms = greatest(0, extract(epoch FROM s.ready_at - now()) * 1000),
           wait_ms = greatest(0, extract(epoch FROM s.ready_at - greatest(s.ready_at, now())) * 1000 + ${WAIT_MS})
      FROM tasks t
     WHERE s.task_id = t.task_id AND ${WAITS}`;

const WITHHOLD_TASKS = {
  name: "pause-withhold-tasks",
  text: `${WITHHOLD} AND t.task_id = ANY($1::uuid[]) RETURNING s.task_id`,
};

const WITHHOLD_JOB = {
  name: "pause-withhold-job",
  text: `${WITHHOLD} AND t.job_id = $1 RETURNING s.task_id`,
};

const SET_STATE = {
  name: "pause-set-state",
  text: "UPDATE jobs SET state = $2 WHERE job_id = $1",
};

/** Withholds tasks of a paused job that wait for an agent.
 *
 * Cost: 2 statements, none when there are no tasks. */
export async function withholdTasks(client: Queryable, taskIds: readonly string[]): Promise<void> {
  if (taskIds.length === 0) return;
  await makeStateRows(client, taskIds);
  await client.query(WITHHOLD_TASKS, [uuidArray(taskIds.map(taskUuid))]);
}

/** Pauses a job and withholds everything of it that waits for an agent; returns the tasks. */
export async function pauseJob(client: Queryable, jobId: string): Promise<string[]> {
  await client.query(SET_STATE, [jobUuid(jobId), "PAUSED"]);
  await makeStateRowsOfJob(client, jobId);
  const { rows } = await client.query<{ task_id: string }>(WITHHOLD_JOB, [jobUuid(jobId)]);
  return rows.map((row) => toTaskId(row.task_id));
}

const RELEASE = {
  name: "pause-release",
  text: `
    WITH s AS (
      UPDATE task_states s
         SET ready_at = now() + s.withheld_delay_ms * interval '1 millisecond', withheld_delay_ms = NULL
        FROM tasks t
       WHERE t.job_id = $1 AND s.task_id = t.task_id AND s.withheld_delay_ms IS NOT NULL
      RETURNING s.*
    )
    SELECT ${LIVE_TASK_COLUMNS}, (extract(epoch FROM s.ready_at - now()) * 1000)::float8 AS delay_ms
      FROM s JOIN tasks t USING (task_id) JOIN jobs j ON j.job_id = t.job_id
     ORDER BY t.ordinal`,
};

/** Puts a job into the state in which it goes on, and lets go what was withheld. */
export async function resumeJob(
  client: Queryable,
  jobId: string,
  state: JobState,
): Promise<{ readonly task: LiveTask; readonly delayMs: number }[]> {
  await client.query(SET_STATE, [jobUuid(jobId), state]);
  const { rows } = await client.query<LiveTaskRow & { readonly delay_ms: number }>(RELEASE, [
    jobUuid(jobId),
  ]);
  return rows.map((row) => ({ task: toLiveTask(row), delayMs: row.delay_ms }));
}

const PROGRESS = {
  name: "pause-progress",
  text: `
    SELECT j.started_at IS NOT NULL AS started,
           j.total = 1 AND EXISTS (SELECT FROM tasks t WHERE t.job_id = j.job_id AND t.planning) AS unplanned
      FROM jobs j WHERE j.job_id = $1`,
};

/** Reads how far a paused job had come: whether anything was leased, and whether it still waits for its plan. */
export async function readProgress(
  client: Queryable,
  jobId: string,
): Promise<{ readonly started: boolean; readonly unplanned: boolean }> {
  const { rows } = await client.query<{ started: boolean; unplanned: boolean }>(PROGRESS, [
    jobUuid(jobId),
  ]);
  return rows[0] ?? { started: false, unplanned: false };
}

const WITHHELD = {
  name: "pause-withheld",
  text: "SELECT job_id, ready FROM jobs WHERE job_id = ANY($1::uuid[])",
};

/** Reads how many tasks paused jobs withhold: all of theirs that are READY. */
export async function readWithheld(
  client: Queryable,
  jobIds: readonly string[],
): Promise<Map<string, number>> {
  const { rows } = await client.query<{ job_id: string; ready: number }>(WITHHELD, [
    uuidArray([...new Set(jobIds)].map(jobUuid)),
  ]);
  return new Map(rows.map((row) => [toJobId(row.job_id), row.ready]));
}

/** A paused job, with how many tasks it withholds. */
export interface StoredPause {
  readonly jobId: string;
  readonly namespace: string;
  readonly tasks: number;
}

/** Reads which jobs of these shards are paused. */
export async function readPausedJobs(
  client: Queryable,
  shards: readonly number[],
): Promise<StoredPause[]> {
  const { rows } = await client.query<{ job_id: string; namespace: string; ready: number }>(
    "SELECT job_id, namespace, ready FROM jobs WHERE shard = ANY($1::smallint[]) AND ended_at IS NULL AND state = 'PAUSED'",
    [shards],
  );
  return rows.map(({ job_id, namespace, ready }) => ({
    jobId: toJobId(job_id),
    namespace,
    tasks: ready,
  }));
}
