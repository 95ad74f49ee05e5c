/** Cancels tasks: every one of a job that is not terminal, at once, with the job itself or without it. */
import type { Queryable } from "@nexus/postgres";
import type { Dispositions } from "../domain/job.ts";
import type { JobChange, TaskChange } from "../domain/job-event.ts";
import type { JobState } from "../domain/job-state.ts";
import type { Failure } from "../domain/task.ts";
import { statesThatAllow, type TaskState } from "../domain/task-state.ts";
import { jobUuid, toTaskId } from "./row-ids.ts";
import { makeStateRowsOfJob } from "./state-row.ts";
import { allowHashJoins } from "./writer-session.ts";

const LOCK_JOB = {
  name: "cancel-lock-job",
  text: `
    SELECT state, created_at FROM jobs WHERE job_id = $1 AND namespace = $2 FOR NO KEY UPDATE`,
};

/** Reads and holds a job; undefined when the namespace has none of that id. */
export async function holdJob(
  client: Queryable,
  namespace: string,
  jobId: string,
): Promise<JobState | undefined> {
  const { rows } = await client.query<{ state: JobState }>(LOCK_JOB, [jobUuid(jobId), namespace]);
  return rows[0]?.state;
}

/** `was` is read before the update; nobody else writes these rows, as the owner writes serially. */
const CANCEL_TASKS = {
  name: "cancel-tasks",
  text: `
    WITH was AS (
      SELECT s.task_id, s.state, s.fence, s.attempts, s.agent_id FROM task_states s
       WHERE s.task_id IN (SELECT task_id FROM tasks WHERE job_id = $1) AND s.state = ANY($4::task_state[])
       ORDER BY s.task_id
         FOR NO KEY UPDATE OF s
    ), moved AS (
      UPDATE task_states s
         SET state = 'CANCELLED', fence = 0, ended_at = now(), withheld_delay_ms = NULL,
             last_fence = CASE WHEN s.fence <> 0 THEN s.fence ELSE s.last_fence END,
             outcome = CASE WHEN s.fence <> 0 THEN 'CANCELLED' END, word = '', last_charged = false,
             failure_reason = $2, failure_message = $3, failure_task_key = nullif($5, '')
        FROM was w
       WHERE s.task_id = w.task_id
    )
    SELECT w.task_id, t.task_key, w.state AS was, CASE WHEN w.fence <> 0 THEN w.attempts ELSE 0 END AS attempt,
           CASE WHEN w.fence <> 0 THEN w.agent_id ELSE '' END AS agent_id
      FROM was w JOIN tasks t USING (task_id)
     ORDER BY t.ordinal`,
};
const CANCELLABLE_STATES = statesThatAllow("CANCEL");

const CANCEL_JOB = {
  name: "cancel-job",
  text: `
    UPDATE jobs
       SET state = 'CANCELLED', cancelled = cancelled + blocked + ready + active, blocked = 0, ready = 0, active = 0,
           failure_reason = $2, failure_message = $3, failure_task_key = NULL, ended_at = now()
     WHERE job_id = $1`,
};

/** A task that was cancelled. */
export interface CancelledTask {
  readonly change: TaskChange;
  readonly from: TaskState;
}

/** Cancels every task of a job that is not terminal; the job's counters are the caller's.
 *
 * Cost: 3 statements, whatever the number of tasks. */
export async function cancelOpenTasks(
  client: Queryable,
  jobId: string,
  failure: Failure,
): Promise<CancelledTask[]> {
  await makeStateRowsOfJob(client, jobId);
  await allowHashJoins(client);
  const { rows } = await client.query<{
    task_id: string;
    task_key: string;
    was: TaskState;
    attempt: number;
    agent_id: string;
  }>(CANCEL_TASKS, [
    jobUuid(jobId),
    failure.reason,
    failure.message,
    CANCELLABLE_STATES,
    failure.taskKey,
  ]);
  return rows.map((row) => ({
    from: row.was,
    change: {
      kind: "task",
      jobId,
      taskId: toTaskId(row.task_id),
      taskKey: row.task_key,
      state: "CANCELLED",
      attempt: row.attempt,
      agentId: row.agent_id,
      failure,
    },
  }));
}

/** What a cancel moved, tasks before the job. */
export interface CancelledJob {
  readonly tasks: readonly CancelledTask[];
  readonly job: JobChange;
}

/** Cancels a job that is not terminal, with its tasks.
 *
 * Cost: 4 statements, whatever the number of tasks. */
export async function cancelJob(
  client: Queryable,
  jobId: string,
  failure: Failure,
): Promise<CancelledJob> {
  const tasks = await cancelOpenTasks(client, jobId, failure);
  await client.query(CANCEL_JOB, [jobUuid(jobId), failure.reason, failure.message]);
  return { tasks, job: { kind: "job", jobId, state: "CANCELLED", failure } };
}

const DISPOSITIONS = {
  name: "cancel-dispositions",
  text: `
    SELECT count(*) FILTER (WHERE s.attempts = 0)::int AS never_started,
           count(*) FILTER (WHERE s.attempts > 0 AND coalesce(s.outcome, a.outcome) IS DISTINCT FROM 'CANCELLED')::int
             AS between_attempts,
           count(*) FILTER (WHERE coalesce(s.outcome, a.outcome) = 'CANCELLED')::int AS told_to_stop
      FROM tasks t JOIN task_states s USING (task_id)
      LEFT JOIN past_attempts a ON a.task_id = s.task_id AND a.attempt = s.attempts
     WHERE t.job_id = $1 AND s.state = 'CANCELLED'`,
};

/** Says how the cancelled tasks of a job stood, from what is stored, so that a repeated cancel says the same. */
export async function readDispositions(client: Queryable, jobId: string): Promise<Dispositions> {
  const { rows } = await client.query<{
    never_started: number;
    between_attempts: number;
    told_to_stop: number;
  }>(DISPOSITIONS, [jobUuid(jobId)]);
  return {
    neverStarted: rows[0]?.never_started ?? 0,
    betweenAttempts: rows[0]?.between_attempts ?? 0,
    toldToStop: rows[0]?.told_to_stop ?? 0,
  };
}
