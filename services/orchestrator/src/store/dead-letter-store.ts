/** Tasks that failed for good. */
import { decodePageToken, encodePageToken, type Queryable } from "@nexus/postgres";
import type {
  DeadLetter,
  DeadLetterFilter,
  DeadLetterPage,
  DeadLetterQuery,
} from "../domain/dead-letter.ts";
import { jobUuid, taskUuid, toJobId, toTaskId } from "./row-ids.ts";

const RECORD = {
  name: "dead-letter-record",
  text: `
    INSERT INTO dead_letters (task_id, job_id, namespace, task_key, capability, agent_id, attempts, reason, message,
                              failed_at)
    SELECT s.task_id, s.job_id, t.namespace, t.task_key, t.capability, s.agent_id, s.attempts,
           coalesce(s.failure_reason, ''), coalesce(s.failure_message, ''), s.ended_at
      FROM task_states s JOIN tasks t USING (task_id)
     WHERE s.task_id = ANY($1::uuid[]) AND s.state = 'FAILED'`,
};

/** Records tasks that this transaction has failed. Cost: 1 statement, none when there are no tasks. */
export async function recordDeadLetters(
  client: Queryable,
  taskIds: readonly string[],
): Promise<void> {
  if (taskIds.length === 0) return;
  await client.query(RECORD, [taskIds.map(taskUuid)]);
}

/** The conditions of a filter, over parameters that begin at $2; $1 is the namespace. */
export const FILTER_CONDITIONS = `
         d.namespace = $1
     AND ($2::text IS NULL OR d.capability = $2) AND ($3::text IS NULL OR d.reason = $3)
     AND ($4::uuid IS NULL OR d.job_id = $4) AND ($5::text IS NULL OR d.agent_id = $5)
     AND ($6::timestamptz IS NULL OR d.failed_at >= $6) AND ($7::timestamptz IS NULL OR d.failed_at < $7)`;

/** The parameters of FILTER_CONDITIONS. */
export function filterValues(namespace: string, filter: DeadLetterFilter): unknown[] {
  const { capability, reason, jobId, agentId, failedSince, failedBefore } = filter;
  const job = jobId === undefined ? undefined : jobUuid(jobId);
  const values = [capability, reason, job, agentId, failedSince, failedBefore];
  return [namespace, ...values.map((value) => value ?? null)];
}

const LIST = {
  name: "dead-letter-list",
  text: `
    SELECT d.task_id, d.job_id, d.task_key, d.capability, d.agent_id, d.attempts, d.reason, d.message, d.failed_at,
           d.failed_at::text AS cursor_at, d.redriven_at, d.redriven_job_id, d.redriven_by
      FROM dead_letters d
     WHERE ${FILTER_CONDITIONS}
     AND ($8::bool OR d.redriven_at IS NULL)
     AND ($9::timestamptz IS NULL OR (d.failed_at, d.task_id) < ($9::timestamptz, $10::uuid))
     ORDER BY d.failed_at DESC, d.task_id DESC
     LIMIT $11`,
};

interface DeadLetterRow {
  readonly task_id: string;
  readonly job_id: string;
  readonly task_key: string;
  readonly capability: string;
  readonly agent_id: string;
  readonly attempts: number;
  readonly reason: string;
  readonly message: string;
  readonly failed_at: Date;
  readonly cursor_at: string;
  readonly redriven_at: Date | null;
  readonly redriven_job_id: string | null;
  readonly redriven_by: string | null;
}

const PAGE_KIND = "dead-letters";

/** Lists dead letters, the latest failure first. Errors: invalid/PAGE_TOKEN_INVALID. */
export async function listDeadLetters(
  client: Queryable,
  query: DeadLetterQuery,
): Promise<DeadLetterPage> {
  const [at, id] = decodePageToken(PAGE_KIND, query.pageToken, ["moment", "uuid"]) ?? [null, null];
  const { rows } = await client.query<DeadLetterRow>(LIST, [
    ...filterValues(query.namespace, query.filter),
    query.includeRedriven,
    at,
    id,
    query.pageSize + 1,
  ]);
  const page = rows.slice(0, query.pageSize);
  const last = page.at(-1);
  const more = rows.length > page.length && last !== undefined;
  return {
    deadLetters: page.map(toDeadLetter),
    nextPageToken: more ? encodePageToken(PAGE_KIND, [last.cursor_at, last.task_id]) : "",
  };
}

function toDeadLetter(row: DeadLetterRow): DeadLetter {
  const { redriven_at: at, redriven_job_id: jobId, redriven_by: by } = row;
  const redriven =
    at === null || jobId === null ? undefined : { at, jobId: toJobId(jobId), by: by ?? "" };
  return {
    taskId: toTaskId(row.task_id),
    jobId: toJobId(row.job_id),
    taskKey: row.task_key,
    capability: row.capability,
    agentId: row.agent_id,
    attempts: row.attempts,
    failure: { reason: row.reason, message: row.message, taskKey: "" },
    failedAt: row.failed_at,
    redriven,
  };
}
