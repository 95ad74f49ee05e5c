/** Reads tasks and their attempts for callers, always inside one namespace. */
import { decodePageToken, encodePageToken, type Queryable } from "@nexus/postgres";
import type { TaskFilter, TaskPage } from "../domain/reader.ts";
import type { AttemptOutcome, AttemptView, Payload, TaskView } from "../domain/task.ts";
import type { TaskState } from "../domain/task-state.ts";
import { readDecision, type StoredDecision } from "./decision-row.ts";
import { type FailureColumns, toFailureOrNone } from "./failure-columns.ts";
import { toPayload } from "./payload-row.ts";
import { jobUuid, taskUuid, toJobId, toTaskId } from "./row-ids.ts";
import { readSpec, type StoredSpec } from "./spec-row.ts";
import { READY_AT, STATE } from "./state-row.ts";

/** Select list for TaskRow, over TASK_TABLES. */
export const TASK_COLUMNS = `
  t.task_id, t.job_id, t.spec, t.planning, t.ordinal, t.created_at, ${STATE} AS state,
  coalesce(s.attempts, 0) AS attempts, coalesce(s.charged, 0) AS charged, coalesce(s.agent_id, '') AS agent_id,
  coalesce(s.fence, 0) AS fence, s.failure_reason, s.failure_message, s.failure_task_key, ${READY_AT} AS ready_at,
  s.leased_at, s.ended_at,
  r.source_id`;

/** The tables of TASK_COLUMNS. */
export const TASK_TABLES =
  "tasks t LEFT JOIN task_states s USING (task_id) LEFT JOIN output_refs r USING (task_id)";

/** A row of TASK_COLUMNS. */
export interface TaskRow extends FailureColumns {
  readonly task_id: string;
  readonly job_id: string;
  readonly spec: StoredSpec;
  readonly planning: boolean;
  readonly ordinal: number;
  readonly created_at: Date;
  readonly state: TaskState;
  readonly attempts: number;
  readonly charged: number;
  readonly agent_id: string;
  readonly fence: string;
  readonly ready_at: Date | null;
  readonly leased_at: Date | null;
  readonly ended_at: Date | null;
  readonly source_id: string | null;
}

interface PayloadColumns {
  readonly input_type: string | null;
  readonly input_data: Buffer | null;
  readonly input_stored_bytes: string | null;
  readonly output_type: string | null;
  readonly output_data: Buffer | null;
  readonly output_stored_bytes: string | null;
}

/** Makes the view of a row, with payloads when they were read. */
export function toTaskView(row: TaskRow, payloads?: PayloadColumns): TaskView {
  return {
    taskId: toTaskId(row.task_id),
    jobId: toJobId(row.job_id),
    spec: readSpec(row.spec),
    input: inputOf(payloads),
    output: outputOf(payloads),
    state: row.state,
    attempts: row.attempts,
    charged: row.charged,
    agentId: row.agent_id,
    fence: BigInt(row.fence),
    failure: toFailureOrNone(row),
    planning: row.planning,
    reusedFrom: row.source_id === null ? "" : toTaskId(row.source_id),
    createdAt: row.created_at,
    readyAt: row.ready_at ?? undefined,
    leasedAt: row.leased_at ?? undefined,
    endedAt: row.ended_at ?? undefined,
  };
}

function inputOf(row: PayloadColumns | undefined): Payload | undefined {
  if (row === undefined || row.input_data === null) return undefined;
  const { input_type, input_data, input_stored_bytes } = row;
  return toPayload({
    content_type: input_type,
    data: input_data,
    stored_bytes: input_stored_bytes,
  });
}

function outputOf(row: PayloadColumns | undefined): Payload | undefined {
  if (row === undefined || row.output_data === null) return undefined;
  const { output_type, output_data, output_stored_bytes } = row;
  return toPayload({
    content_type: output_type,
    data: output_data,
    stored_bytes: output_stored_bytes,
  });
}

const GET = {
  name: "task-get",
  text: `
    SELECT ${TASK_COLUMNS}, i.content_type AS input_type, i.data AS input_data, i.stored_bytes AS input_stored_bytes,
           o.content_type AS output_type, o.data AS output_data, o.stored_bytes AS output_stored_bytes
      FROM ${TASK_TABLES}
      LEFT JOIN map_items m ON m.task_id = coalesce(r.source_id, t.task_id)
      LEFT JOIN task_inputs i ON i.task_id = coalesce(m.parent_id, r.source_id, t.task_id)
      LEFT JOIN task_outputs o ON o.task_id = coalesce(r.source_id, t.task_id)
     WHERE t.task_id = $1 AND t.namespace = $2`,
};

const GET_BARE = {
  name: "task-get-bare",
  text: `
    SELECT ${TASK_COLUMNS} FROM ${TASK_TABLES}
     WHERE t.task_id = $1 AND t.namespace = $2`,
};

/** Reads one task with its payloads; undefined when the namespace has none of that id. */
export async function readTask(
  client: Queryable,
  namespace: string,
  taskId: string,
): Promise<TaskView | undefined> {
  const { rows } = await client.query<TaskRow & PayloadColumns>(GET, [taskUuid(taskId), namespace]);
  return rows[0] === undefined ? undefined : toTaskView(rows[0], rows[0]);
}

/** Reads one task without its payloads. */
export async function readTaskBare(
  client: Queryable,
  namespace: string,
  taskId: string,
): Promise<TaskView | undefined> {
  const { rows } = await client.query<TaskRow>(GET_BARE, [taskUuid(taskId), namespace]);
  return rows[0] === undefined ? undefined : toTaskView(rows[0]);
}

const LIST = {
  name: "task-list",
  text: `
    SELECT ${TASK_COLUMNS}
      FROM ${TASK_TABLES}
     WHERE t.job_id = $1 AND t.ordinal > $2
       AND (cardinality($3::task_state[]) = 0 OR ${STATE} = ANY($3::task_state[]))
     ORDER BY t.ordinal
     LIMIT $4`,
};

/** Lists a job's tasks in the order of submission; the caller has checked that the job is the namespace's.
 *
 * Errors: invalid/PAGE_TOKEN_INVALID, also for a token of another job. */
export async function listTasks(client: Queryable, filter: TaskFilter): Promise<TaskPage> {
  const kind = `tasks:${filter.jobId}`;
  const [after] = decodePageToken(kind, filter.pageToken, ["integer"]) ?? [-1];
  const { rows } = await client.query<TaskRow>(LIST, [
    jobUuid(filter.jobId),
    after,
    filter.states,
    filter.pageSize + 1,
  ]);
  const page = rows.slice(0, filter.pageSize);
  const last = page.at(-1);
  const more = rows.length > page.length && last !== undefined;
  return {
    tasks: page.map((row) => toTaskView(row)),
    nextPageToken: more ? encodePageToken(kind, [last.ordinal]) : "",
  };
}

const ATTEMPTS = {
  name: "task-attempts",
  text: `
    SELECT attempt, fence, agent_id, agent_epoch, leased_at, started_at, ended_at, outcome, charged,
           failure_reason, failure_message, decision
      FROM attempts WHERE task_id = $1
     UNION ALL
    SELECT attempts, fence, agent_id, agent_epoch, leased_at, started_at, NULL, NULL, false, NULL, NULL, decision
      FROM task_states WHERE task_id = $1 AND fence <> 0
     ORDER BY attempt
     LIMIT $2`,
};

interface AttemptRow extends FailureColumns {
  readonly attempt: number;
  readonly fence: string;
  readonly agent_id: string;
  readonly agent_epoch: string;
  readonly leased_at: Date;
  readonly started_at: Date | null;
  readonly ended_at: Date | null;
  readonly outcome: AttemptOutcome | null;
  readonly charged: boolean;
  readonly decision: StoredDecision;
}

/** Reads a task's attempts, oldest first, the one under way last. */
export async function readAttempts(
  client: Queryable,
  taskId: string,
  limit: number,
): Promise<AttemptView[]> {
  const { rows } = await client.query<AttemptRow>(ATTEMPTS, [taskUuid(taskId), limit]);
  return rows.map((row) => ({
    attempt: row.attempt,
    fence: BigInt(row.fence),
    agentId: row.agent_id,
    agentEpoch: BigInt(row.agent_epoch),
    leasedAt: row.leased_at,
    startedAt: row.started_at ?? undefined,
    endedAt: row.ended_at ?? undefined,
    outcome: row.outcome ?? undefined,
    failure: toFailureOrNone(row),
    charged: row.charged,
    decision: readDecision(row.decision, row.agent_id),
  }));
}
