/** Inserts the tasks of a submission or of a plan. */
import {
  boolArray,
  byteaArray,
  int2Array,
  int4Array,
  int8Array,
  jsonArray,
  type Queryable,
  textArray,
  uuidArray,
} from "@nexus/postgres";
import { shardOf } from "../domain/shards.ts";
import type { NewTask } from "../domain/task-plan.ts";
import { recordClosings } from "./closing-store.ts";
import { jobUuid, taskUuid } from "./row-ids.ts";

const INSERT_TASKS = {
  name: "tasks-insert",
  text: `
    WITH input AS (
      SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::int[], $5::text[], $6::text[], $7::smallint[],
                           $8::bool[], $9::bool[], $10::bool[], $11::json[], $12::int[], $13::bigint[], $14::smallint[],
                           $15::text[], $16::bytea[])
        AS i(task_id, job_id, namespace, ordinal, task_key, capability, priority, planning, sink, has_upstream,
             spec, pending, wait_ms, shard, input_type, input)
    ), specs AS (
      INSERT INTO tasks (task_id, job_id, shard, namespace, ordinal, task_key, capability, priority, planning,
                         sink, has_upstream, spec, input_type, input)
      SELECT task_id, job_id, shard, namespace, ordinal, task_key, capability, priority, planning, sink,
             has_upstream, spec, input_type, input
        FROM input
    ), states AS (
      INSERT INTO task_states (task_id, job_id, state, pending, ready_at)
      SELECT task_id, job_id, (CASE WHEN pending = 0 THEN 'READY' ELSE 'BLOCKED' END)::task_state, pending,
             CASE WHEN pending = 0 THEN now() END
        FROM input
    )
    INSERT INTO ready (task_id, shard, ready_at, start_by)
    SELECT task_id, shard, now(), now() + wait_ms * interval '1 millisecond'
      FROM input WHERE pending = 0`,
};

const INSERT_EDGES = {
  name: "edges-insert",
  text: `
    INSERT INTO edges (child_id, ordinal, parent_id, input_name, on_failure)
    SELECT * FROM unnest($1::uuid[], $2::int[], $3::uuid[], $4::text[], $5::edge_policy[])`,
};

/** Inserts tasks with their inputs, states, edges and, for those that wait for nothing, their ready rows.
 *
 * Cost: 1 to 3 statements, whatever the number of tasks. */
export async function insertTasks(client: Queryable, tasks: readonly NewTask[]): Promise<void> {
  if (tasks.length === 0) return;
  await client.query(INSERT_TASKS, [
    uuidArray(tasks.map((task) => taskUuid(task.taskId))),
    uuidArray(tasks.map((task) => jobUuid(task.jobId))),
    textArray(tasks.map((task) => task.namespace)),
    int4Array(tasks.map((task) => task.ordinal)),
    textArray(tasks.map((task) => task.spec.key)),
    textArray(tasks.map((task) => task.spec.capability)),
    int2Array(tasks.map((task) => task.priority)),
    boolArray(tasks.map((task) => task.planning)),
    boolArray(tasks.map((task) => task.sink)),
    boolArray(tasks.map((task) => task.hasUpstream)),
    jsonArray(tasks.map((task) => JSON.stringify(task.spec))),
    int4Array(tasks.map((task) => task.pending)),
    int8Array(tasks.map((task) => task.spec.scheduleToStartMs)),
    int2Array(tasks.map((task) => shardOf(task.jobId))),
    textArray(tasks.map((task) => task.input?.contentType ?? null)),
    byteaArray(tasks.map((task) => task.input?.data ?? null)),
  ]);
  await insertEdges(client, tasks);
  await recordClosings(
    client,
    tasks.filter((task) => task.pending === 0),
  );
}

async function insertEdges(client: Queryable, tasks: readonly NewTask[]): Promise<void> {
  const edges = tasks.flatMap(({ taskId, parents }) =>
    parents.map((edge, ordinal) => ({ taskId, ordinal, ...edge })),
  );
  if (edges.length === 0) return;
  await client.query(INSERT_EDGES, [
    uuidArray(edges.map((edge) => taskUuid(edge.taskId))),
    int4Array(edges.map((edge) => edge.ordinal)),
    uuidArray(edges.map((edge) => taskUuid(edge.parentId))),
    textArray(edges.map((edge) => edge.inputName)),
    edges.map((edge) => edge.onFailure),
  ]);
}

/** The driver writes a Buffer as bytea, and any other typed array as text. */
export function toBuffer(bytes: Uint8Array | undefined): Buffer {
  if (bytes === undefined) return Buffer.alloc(0);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
