/** New generations of ended jobs: what was, and what of it is kept by reference. */
import type { Queryable } from "@nexus/postgres";
import type { Lineage, PriorTask } from "../domain/generation.ts";
import { shardOf } from "../domain/shards.ts";
import type { TaskState } from "../domain/task-state.ts";
import { jobUuid, taskUuid, toTaskId } from "./row-ids.ts";
import { readSpec, type StoredSpec } from "./spec-row.ts";

const PRIOR_TASKS = {
  name: "generation-prior-tasks",
  text: `
    SELECT t.task_id, coalesce(r.source_id, t.task_id) AS output_id, t.ordinal, t.spec, t.planning, s.state
      FROM tasks t JOIN task_states s USING (task_id) LEFT JOIN output_refs r USING (task_id)
     WHERE t.job_id = $1
     ORDER BY t.ordinal`,
};

/** Reads the tasks of an ended job, in the order of submission; nothing of it changes any more. */
export async function readPriorTasks(client: Queryable, jobId: string): Promise<PriorTask[]> {
  const { rows } = await client.query<{
    task_id: string;
    output_id: string;
    ordinal: number;
    spec: StoredSpec;
    planning: boolean;
    state: TaskState;
  }>(PRIOR_TASKS, [jobUuid(jobId)]);
  return rows.map((row) => ({
    taskId: toTaskId(row.task_id),
    outputId: toTaskId(row.output_id),
    ordinal: row.ordinal,
    spec: readSpec(row.spec),
    planning: row.planning,
    state: row.state,
  }));
}

const HOLD_PRIOR = {
  name: "generation-hold-prior",
  text: "SELECT job_id FROM jobs WHERE job_id = $1 FOR KEY SHARE",
};

/** Keeps a job from being removed (retention-store.ts) until the transaction ends; one that is gone by then is gone for the next statement. */
export async function holdPrior(client: Queryable, jobId: string): Promise<void> {
  await client.query(HOLD_PRIOR, [jobUuid(jobId)]);
}

const HOLD_ORIGIN = {
  name: "generation-hold-origin",
  text: "SELECT job_id FROM jobs WHERE job_id = $1 FOR NO KEY UPDATE",
};

const LAST_GENERATION = {
  name: "generation-last",
  text: "SELECT coalesce(max(generation), 1) AS last FROM jobs WHERE origin_job_id = $1",
};

/** Holds the first generation, so that generations are numbered one after the other, and returns the next number. */
export async function nextGeneration(client: Queryable, originJobId: string): Promise<number> {
  await client.query(HOLD_ORIGIN, [jobUuid(originJobId)]);
  const { rows } = await client.query<{ last: number }>(LAST_GENERATION, [jobUuid(originJobId)]);
  return (rows[0]?.last ?? 1) + 1;
}

/** What is kept counts as succeeded; insertJobs has counted it as ready. */
const MARK = {
  name: "generation-mark",
  text: `
    UPDATE jobs
       SET generation = $2, origin_job_id = $3, replay_of = $4, replay_from = nullif($5, ''),
           ready = ready - $6, succeeded = $6, plan_summary = $7
     WHERE job_id = $1`,
};

/** Gives an inserted job its place among the generations, and counts what it keeps. */
export async function markGeneration(
  client: Queryable,
  jobId: string,
  lineage: Lineage,
  kept: { readonly tasks: number; readonly planSummary: string },
): Promise<void> {
  await client.query(MARK, [
    jobUuid(jobId),
    lineage.generation,
    jobUuid(lineage.originJobId),
    jobUuid(lineage.replayOf),
    lineage.replayFrom,
    kept.tasks,
    kept.planSummary,
  ]);
}

const KEEP = {
  name: "generation-keep",
  text: `
    WITH input AS (
      SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS i(prior_id, task_id, output_id)
    ), specs AS (
      INSERT INTO tasks (task_id, job_id, shard, namespace, ordinal, task_key, capability, priority, planning, sink,
                         has_upstream, spec)
      SELECT i.task_id, $4, $5, t.namespace, t.ordinal, t.task_key, t.capability, t.priority, t.planning, t.sink,
             t.has_upstream, t.spec
        FROM input i JOIN tasks t ON t.task_id = i.prior_id
    ), states AS (
      INSERT INTO task_states (task_id, job_id, state, pending, agent_id, ready_at, leased_at, started_at, ended_at)
      SELECT i.task_id, $4, s.state, 0, s.agent_id, s.ready_at, s.leased_at, s.started_at, s.ended_at
        FROM input i JOIN task_states s ON s.task_id = i.prior_id
    )
    INSERT INTO output_refs (task_id, source_id) SELECT task_id, output_id FROM input`,
};

/** Inserts the tasks that a generation keeps: succeeded as they are, their outputs by reference.
 *
 * Cost: 1 statement. */
export async function keepTasks(
  client: Queryable,
  jobId: string,
  kept: readonly { readonly prior: PriorTask; readonly taskId: string }[],
): Promise<void> {
  if (kept.length === 0) return;
  await client.query(KEEP, [
    kept.map(({ prior }) => taskUuid(prior.taskId)),
    kept.map(({ taskId }) => taskUuid(taskId)),
    kept.map(({ prior }) => taskUuid(prior.outputId)),
    jobUuid(jobId),
    shardOf(jobId),
  ]);
}

const COPY_INPUTS = {
  name: "generation-copy-inputs",
  text: `
    UPDATE tasks t SET input_type = p.input_type, input = p.input, input_stored_bytes = p.input_stored_bytes
      FROM unnest($1::uuid[], $2::uuid[]) AS i(prior_id, task_id) JOIN tasks p ON p.task_id = i.prior_id
     WHERE t.task_id = i.task_id`,
};

/** Gives tasks the inputs of those that they repeat, from where these ran: inside the database, and at most what one submission
 * could bring. */
export async function copyInputs(
  client: Queryable,
  pairs: readonly { readonly prior: PriorTask; readonly taskId: string }[],
): Promise<void> {
  await client.query(COPY_INPUTS, [
    pairs.map(({ prior }) => taskUuid(prior.outputId)),
    pairs.map(({ taskId }) => taskUuid(taskId)),
  ]);
}
