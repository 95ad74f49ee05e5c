/** Reads jobs for callers, always inside one namespace. */
import type { Queryable } from "@nexus/postgres";
import type { JobView } from "../domain/job.ts";
import { isTerminalJobState, type JobState } from "../domain/job-state.ts";
import { RESULTS_MAX_BYTES } from "../domain/limits.ts";
import type { Payload } from "../domain/task.ts";
import { type FailureColumns, toFailureOrNone } from "./failure-columns.ts";
import { type PayloadRow, toPayload } from "./payload-row.ts";
import { jobUuid, toJobId } from "./row-ids.ts";

/** Select list for JobRow. */
export const JOB_COLUMNS = `
  job_id, namespace, objective, state, principal_id, priority, labels, total, blocked, ready, active, succeeded,
  failed, cancelled, skipped, failure_reason, failure_message, failure_task_key, plan_summary, created_at, started_at,
  ended_at, generation, origin_job_id, replay_of, replay_from`;

/** A row of JOB_COLUMNS. */
export interface JobRow extends FailureColumns {
  readonly job_id: string;
  readonly namespace: string;
  readonly objective: string;
  readonly state: JobState;
  readonly principal_id: string;
  readonly priority: number;
  readonly labels: Record<string, string>;
  readonly total: number;
  readonly blocked: number;
  readonly ready: number;
  readonly active: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly cancelled: number;
  readonly skipped: number;
  readonly plan_summary: string;
  readonly created_at: Date;
  readonly started_at: Date | null;
  readonly ended_at: Date | null;
  readonly generation: number;
  readonly origin_job_id: string | null;
  readonly replay_of: string | null;
  readonly replay_from: string | null;
}

/** Makes the view of a row. */
export function toJobView(row: JobRow): JobView {
  const { total, blocked, ready, active, succeeded, failed, cancelled, skipped } = row;
  return {
    jobId: toJobId(row.job_id),
    namespace: row.namespace,
    objective: row.objective,
    state: row.state,
    principalId: row.principal_id,
    priority: row.priority,
    labels: row.labels,
    counts: { total, blocked, ready, active, succeeded, failed, cancelled, skipped },
    // The first failure is known before the job ends, but it is the job's failure only then.
    failure: isTerminalJobState(row.state) ? toFailureOrNone(row) : undefined,
    planSummary: row.plan_summary,
    lineage: {
      generation: row.generation,
      originJobId: row.origin_job_id === null ? "" : toJobId(row.origin_job_id),
      replayOf: row.replay_of === null ? "" : toJobId(row.replay_of),
      replayFrom: row.replay_from ?? "",
    },
    createdAt: row.created_at,
    startedAt: row.started_at ?? undefined,
    endedAt: row.ended_at ?? undefined,
  };
}

const GET = {
  name: "job-get",
  text: `SELECT ${JOB_COLUMNS} FROM jobs WHERE job_id = $1 AND namespace = $2`,
};

/** Reads one job; undefined when the namespace has none of that id. */
export async function readJob(
  client: Queryable,
  namespace: string,
  jobId: string,
): Promise<JobView | undefined> {
  const { rows } = await client.query<JobRow>(GET, [jobUuid(jobId), namespace]);
  return rows[0] === undefined ? undefined : toJobView(rows[0]);
}

const RESULTS = {
  name: "job-results",
  text: `
    WITH sinks AS (
      SELECT o.task_id, t.task_key, sum(octet_length(o.data)) OVER () AS bytes
        FROM tasks t
        LEFT JOIN output_refs r USING (task_id)
        JOIN task_outputs o ON o.task_id = coalesce(r.source_id, t.task_id)
       WHERE t.job_id = $1 AND t.sink AND NOT t.planning
    )
    SELECT s.task_key, o.content_type, o.data, o.stored_bytes
      FROM sinks s JOIN task_outputs o USING (task_id)
     WHERE s.bytes <= $2`,
};

/** Reads the outputs of tasks that no other task depends on, by key; none when they exceed RESULTS_MAX_BYTES. */
export async function readResults(client: Queryable, jobId: string): Promise<Map<string, Payload>> {
  const { rows } = await client.query<PayloadRow & { readonly task_key: string }>(RESULTS, [
    jobUuid(jobId),
    RESULTS_MAX_BYTES,
  ]);
  return new Map(rows.map((row) => [row.task_key, toPayload(row)]));
}
