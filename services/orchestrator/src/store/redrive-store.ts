/** Turns dead letters into new jobs: who they were, what they received, and that they are redriven. */
import type { Queryable } from "@nexus/postgres";
import type { Redrive, RedriveChoice } from "../domain/dead-letter.ts";
import type { StoredTaskSpec } from "../domain/task.ts";
import { FILTER_CONDITIONS, filterValues } from "./dead-letter-store.ts";
import { jobUuid, taskUuid, toJobId, toTaskId } from "./row-ids.ts";
import { readSpec, type StoredSpec } from "./spec-row.ts";

/** A dead letter with what its new job is made from. */
export interface HeldLetter {
  readonly taskId: string;
  /** Of the job that it became before; empty when it was not redriven. */
  readonly redrivenJobId: string;
  readonly spec: StoredTaskSpec;
  readonly planning: boolean;
  readonly hasUpstream: boolean;
  /** Its own priority plus its job's. */
  readonly priority: number;
  readonly job: {
    readonly objective: string;
    readonly priority: number;
    readonly labels: Readonly<Record<string, string>>;
  };
}

const COLUMNS = `
  d.task_id, d.redriven_job_id, t.spec, t.planning, t.has_upstream, t.priority, j.objective,
  j.priority AS job_priority, j.labels`;
const SOURCES = "dead_letters d JOIN tasks t USING (task_id) JOIN jobs j ON j.job_id = t.job_id";

const HOLD_IDS = {
  name: "redrive-hold-ids",
  text: `
    SELECT ${COLUMNS} FROM ${SOURCES}
     WHERE d.namespace = $1 AND d.task_id = ANY($2::uuid[])
     ORDER BY d.failed_at, d.task_id
       FOR NO KEY UPDATE OF d`,
};

const HOLD_FILTER = {
  name: "redrive-hold-filter",
  text: `
    SELECT ${COLUMNS} FROM ${SOURCES}
     WHERE ${FILTER_CONDITIONS} AND d.redriven_at IS NULL
     ORDER BY d.failed_at, d.task_id
     LIMIT $8
       FOR NO KEY UPDATE OF d`,
};

interface HeldRow {
  readonly task_id: string;
  readonly redriven_job_id: string | null;
  readonly spec: StoredSpec;
  readonly planning: boolean;
  readonly has_upstream: boolean;
  readonly priority: number;
  readonly objective: string;
  readonly job_priority: number;
  readonly labels: Record<string, string>;
}

/** Reads and holds the chosen dead letters, the oldest failure first; by filter only those that are not redriven. An id
 * that the namespace does not have is absent. */
export async function holdDeadLetters(
  client: Queryable,
  namespace: string,
  choice: RedriveChoice,
): Promise<HeldLetter[]> {
  const { rows } =
    choice.kind === "ids"
      ? await client.query<HeldRow>(HOLD_IDS, [namespace, choice.taskIds.map(taskUuid)])
      : await client.query<HeldRow>(HOLD_FILTER, [
          ...filterValues(namespace, choice.filter),
          choice.limit,
        ]);
  return rows.map((row) => ({
    taskId: toTaskId(row.task_id),
    redrivenJobId: row.redriven_job_id === null ? "" : toJobId(row.redriven_job_id),
    spec: readSpec(row.spec),
    planning: row.planning,
    hasUpstream: row.has_upstream,
    priority: row.priority,
    job: { objective: row.objective, priority: row.job_priority, labels: row.labels },
  }));
}

const ANY_LEFT = {
  name: "redrive-any-left",
  text: `
    SELECT EXISTS (SELECT FROM dead_letters d WHERE ${FILTER_CONDITIONS} AND d.redriven_at IS NULL) AS more`,
};

/** Says whether a filter fits any that are not redriven. */
export async function hasMore(
  client: Queryable,
  namespace: string,
  choice: RedriveChoice,
): Promise<boolean> {
  if (choice.kind === "ids") return false;
  const values = filterValues(namespace, choice.filter);
  const { rows } = await client.query<{ more: boolean }>(ANY_LEFT, values);
  return rows[0]?.more ?? false;
}

/** A dead letter and the task that it becomes. */
export interface RedrivenTask {
  readonly letterId: string;
  readonly taskId: string;
  readonly jobId: string;
}

const COPY_INPUTS = {
  name: "redrive-copy-inputs",
  text: `
    UPDATE tasks t SET input_type = l.input_type, input = l.input, input_stored_bytes = l.input_stored_bytes
      FROM unnest($1::uuid[], $2::uuid[]) AS n(letter_id, task_id) JOIN tasks l ON l.task_id = n.letter_id
     WHERE t.task_id = n.task_id`,
};

/** Outputs are not copied: the new task has edges to the tasks that made them, of which it waits for none. */
const COPY_EDGES = {
  name: "redrive-copy-edges",
  text: `
    INSERT INTO edges (child_id, ordinal, parent_id, input_name)
    SELECT n.task_id, e.ordinal, e.parent_id, e.input_name
      FROM unnest($1::uuid[], $2::uuid[]) AS n(letter_id, task_id) JOIN edges e ON e.child_id = n.letter_id
     WHERE e.input_name <> ''`,
};

/** Gives the new tasks what the old ones received: inputs, and outputs of upstream tasks. */
export async function copyMaterial(
  client: Queryable,
  tasks: readonly RedrivenTask[],
): Promise<void> {
  const ids = [
    tasks.map(({ letterId }) => taskUuid(letterId)),
    tasks.map(({ taskId }) => taskUuid(taskId)),
  ];
  await client.query(COPY_INPUTS, ids);
  await client.query(COPY_EDGES, ids);
}

const MARK = {
  name: "redrive-mark",
  text: `
    UPDATE dead_letters d
       SET redriven_at = now(), redriven_job_id = n.job_id, redriven_by = $3, redrive_request_id = $4
      FROM unnest($1::uuid[], $2::uuid[]) AS n(letter_id, job_id)
     WHERE d.task_id = n.letter_id`,
};

/** Who redrives, by which request. */
export interface RedriveAuthor {
  readonly namespace: string;
  readonly principalId: string;
  readonly requestId: string;
}

/** Marks dead letters as redriven. */
export async function markRedriven(
  client: Queryable,
  tasks: readonly RedrivenTask[],
  author: RedriveAuthor,
): Promise<void> {
  await client.query(MARK, [
    tasks.map(({ letterId }) => taskUuid(letterId)),
    tasks.map(({ jobId }) => jobUuid(jobId)),
    author.principalId,
    author.requestId,
  ]);
}

const READ_REDRIVEN = {
  name: "redrive-read",
  text: `
    SELECT d.task_id, d.redriven_job_id,
           d.redriven_by <> $2 OR d.redrive_request_id <> $3 AS earlier
      FROM dead_letters d
     WHERE d.namespace = $1 AND d.redriven_at IS NOT NULL
       AND ((d.redriven_by = $2 AND d.redrive_request_id = $3) OR d.task_id = ANY($4::uuid[]))
     ORDER BY d.failed_at, d.task_id`,
};

/** Reads what a request has redriven, and with it the ids that it named. */
export async function readRedriven(
  client: Queryable,
  author: RedriveAuthor,
  choice: RedriveChoice,
): Promise<Redrive[]> {
  const named = choice.kind === "ids" ? choice.taskIds : [];
  const { rows } = await client.query<{
    task_id: string;
    redriven_job_id: string;
    earlier: boolean;
  }>(READ_REDRIVEN, [author.namespace, author.principalId, author.requestId, named.map(taskUuid)]);
  return rows.map((row) => ({
    taskId: toTaskId(row.task_id),
    jobId: toJobId(row.redriven_job_id),
    earlier: row.earlier,
  }));
}
