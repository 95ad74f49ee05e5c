/** Pause and resume: moves what could go out of the queue's table and back, with what is left on its clocks. */
import type { Queryable } from "@nexus/postgres";
import type { JobState } from "../domain/job-state.ts";
import type { LiveTask } from "../domain/live-task.ts";
import { LIVE_TASK_COLUMNS, type LiveTaskRow, toLiveTask } from "./live-task-row.ts";
import { jobUuid, taskUuid, toJobId, toTaskId } from "./row-ids.ts";

/** A delay and a wait do not run into each other: the wait for an agent begins when the delay is over. */
const WITHHOLD = {
  name: "pause-withhold",
  text: `
    WITH taken AS (
      DELETE FROM ready r USING task_states s
       WHERE r.task_id = ANY($1::uuid[]) AND s.task_id = r.task_id
      RETURNING r.task_id, s.job_id, r.ready_at, r.start_by
    )
    INSERT INTO paused_ready (task_id, job_id, delay_ms, wait_ms)
    SELECT task_id, job_id, greatest(0, extract(epoch FROM ready_at - now()) * 1000),
           greatest(0, extract(epoch FROM start_by - greatest(ready_at, now())) * 1000)
      FROM taken
    RETURNING task_id`,
};

const READY_OF_JOB = {
  name: "pause-ready-of-job",
  text: `
    SELECT r.task_id FROM tasks t JOIN ready r USING (task_id) WHERE t.job_id = $1`,
};

const SET_STATE = {
  name: "pause-set-state",
  text: "UPDATE jobs SET state = $2 WHERE job_id = $1",
};

/** Takes waiting tasks of a paused job out of the queue's table; returns their ids.
 *
 * Cost: 1 statement. */
export async function withholdTasks(
  client: Queryable,
  taskIds: readonly string[],
): Promise<string[]> {
  if (taskIds.length === 0) return [];
  const { rows } = await client.query<{ task_id: string }>(WITHHOLD, [taskIds.map(taskUuid)]);
  return rows.map((row) => toTaskId(row.task_id));
}

/** Pauses a job and withholds everything of it that waits for an agent; returns the tasks. */
export async function pauseJob(client: Queryable, jobId: string): Promise<string[]> {
  await client.query(SET_STATE, [jobUuid(jobId), "PAUSED"]);
  const { rows } = await client.query<{ task_id: string }>(READY_OF_JOB, [jobUuid(jobId)]);
  return withholdTasks(
    client,
    rows.map((row) => toTaskId(row.task_id)),
  );
}

const RELEASE = {
  name: "pause-release",
  text: `
    WITH freed AS (
      DELETE FROM paused_ready WHERE job_id = $1
      RETURNING task_id, delay_ms, wait_ms, now() + delay_ms * interval '1 millisecond' AS ready_at
    ), queued AS (
      INSERT INTO ready (task_id, shard, ready_at, start_by)
      SELECT f.task_id, t.shard, f.ready_at, f.ready_at + f.wait_ms * interval '1 millisecond'
        FROM freed f JOIN tasks t USING (task_id)
    ), s AS (
      UPDATE task_states s SET ready_at = f.ready_at FROM freed f WHERE s.task_id = f.task_id
      RETURNING s.*, f.delay_ms
    )
    SELECT ${LIVE_TASK_COLUMNS}, s.delay_ms
      FROM s JOIN tasks t USING (task_id) JOIN jobs j ON j.job_id = t.job_id
     ORDER BY t.ordinal`,
};

/** Puts a job into the state in which it goes on, and what was withheld back into the queue's table. */
export async function resumeJob(
  client: Queryable,
  jobId: string,
  state: JobState,
): Promise<{ readonly task: LiveTask; readonly delayMs: number }[]> {
  await client.query(SET_STATE, [jobUuid(jobId), state]);
  const { rows } = await client.query<LiveTaskRow & { readonly delay_ms: string }>(RELEASE, [
    jobUuid(jobId),
  ]);
  return rows.map((row) => ({ task: toLiveTask(row), delayMs: Number(row.delay_ms) }));
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

/** Reads which jobs of these shards are paused. */
export async function readPausedJobs(
  client: Queryable,
  shards: readonly number[],
): Promise<string[]> {
  const { rows } = await client.query<{ job_id: string }>(
    "SELECT job_id FROM jobs WHERE shard = ANY($1::smallint[]) AND ended_at IS NULL AND state = 'PAUSED'",
    [shards],
  );
  return rows.map((row) => toJobId(row.job_id));
}
