/** The append-only history of state changes. Only the owner appends, one transaction after another. */
import type { Queryable } from "@nexus/postgres";
import type { JobChange, JobEvent, TaskChange } from "../domain/job-event.ts";
import type { JobState } from "../domain/job-state.ts";
import type { EventPage } from "../domain/reader.ts";
import type { TaskState } from "../domain/task-state.ts";
import { type FailureColumns, toFailureOrNone } from "./failure-columns.ts";
import { jobUuid, taskUuid, toJobId, toTaskId } from "./row-ids.ts";

const APPEND = {
  name: "events-append",
  text: `
    INSERT INTO task_events
      (job_id, task_id, state, attempt, agent_id, failure_reason, failure_message, failure_task_key)
    SELECT job_id, task_id, state, attempt, agent_id, reason, message, task_key
      FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::int[], $5::text[], $6::text[], $7::text[], $8::text[])
           WITH ORDINALITY
           AS e(job_id, task_id, state, attempt, agent_id, reason, message, task_key, position)
     ORDER BY position
    RETURNING sequence, (extract(epoch FROM created_at) * 1000)::float8 AS at_ms`,
};

/** Appends changes in this order and returns them with their numbers.
 *
 * Numbers are drawn inside the owner's serial transactions, so a higher one is never committed before a lower one
 * of the same job.   Cost: 1 statement. */
export async function appendEvents(
  client: Queryable,
  changes: readonly (JobChange | TaskChange)[],
): Promise<JobEvent[]> {
  if (changes.length === 0) return [];
  const { rows } = await client.query<{ sequence: string; at_ms: number }>(APPEND, [
    changes.map((change) => jobUuid(change.jobId)),
    changes.map((change) => (change.kind === "task" ? taskUuid(change.taskId) : null)),
    changes.map((change) => change.state),
    changes.map((change) => (change.kind === "task" ? change.attempt : 0)),
    changes.map((change) => (change.kind === "task" ? change.agentId : "")),
    changes.map((change) => change.failure?.reason ?? null),
    changes.map((change) => change.failure?.message ?? null),
    changes.map((change) => change.failure?.taskKey ?? null),
  ]);
  return changes.map((change, index) => {
    const row = rows[index] as { sequence: string; at_ms: number };
    const at = new Date(row.at_ms);
    return { sequence: BigInt(row.sequence), jobId: change.jobId, at, change };
  });
}

const READ_AFTER = {
  name: "events-read-after",
  text: `
    SELECT e.sequence, e.job_id, e.task_id, t.task_key, e.state, e.attempt, e.agent_id,
           e.failure_reason, e.failure_message, e.failure_task_key, e.created_at
      FROM task_events e
      LEFT JOIN tasks t ON t.task_id = e.task_id
     WHERE e.job_id = $1 AND e.sequence > $2 AND e.created_at >= $3
     ORDER BY e.sequence
     LIMIT $4`,
};

interface EventRow extends FailureColumns {
  readonly sequence: string;
  readonly job_id: string;
  readonly task_id: string | null;
  readonly task_key: string | null;
  readonly state: string;
  readonly attempt: number;
  readonly agent_id: string;
  readonly created_at: Date;
}

/** Reads a job's events with a number above `after`, lowest first. */
export async function readEvents(
  client: Queryable,
  jobId: string,
  after: bigint,
  page: EventPage,
): Promise<JobEvent[]> {
  // The driver keeps milliseconds; the column has microseconds, so the bound goes one down.
  const since = new Date(page.since.getTime() - 1);
  const { rows } = await client.query<EventRow>(READ_AFTER, [
    jobUuid(jobId),
    after.toString(),
    since,
    page.limit,
  ]);
  return rows.map(toEvent);
}

function toEvent(row: EventRow): JobEvent {
  const jobId = toJobId(row.job_id);
  const failure = toFailureOrNone(row);
  const change: JobChange | TaskChange =
    row.task_id === null
      ? { kind: "job", jobId, state: row.state as JobState, failure }
      : {
          kind: "task",
          jobId,
          taskId: toTaskId(row.task_id),
          taskKey: row.task_key ?? "",
          state: row.state as TaskState,
          attempt: row.attempt,
          agentId: row.agent_id,
          failure,
        };
  return { sequence: BigInt(row.sequence), jobId, at: row.created_at, change };
}
