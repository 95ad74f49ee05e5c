/** Inserts the tasks of a submission or of a plan: those that wait, and those that an agent gets at once. */
import {
  boolArray,
  byteaArray,
  int2Array,
  int4Array,
  int8Array,
  jsonArray,
  type Queryable,
  textArray,
  together,
  uuidArray,
} from "@nexus/postgres";
import type { Claim } from "../domain/live-task.ts";
import { shardOf } from "../domain/shards.ts";
import type { NewTask } from "../domain/task-plan.ts";
import { arrayRows } from "./array-rows.ts";
import type { GrantedLease } from "./claim-store.ts";
import { recordClosings } from "./closing-store.ts";
import { writeDecision } from "./decision-row.ts";
import { jobUuid, taskUuid, toTaskId } from "./row-ids.ts";
import { writeSpec } from "./spec-row.ts";

/** What `columnsOf` gives. */
const COLUMNS = {
  task_id: "uuid",
  job_id: "uuid",
  shard: "smallint",
  namespace: "text",
  ordinal: "int",
  task_key: "text",
  capability: "text",
  priority: "smallint",
  planning: "bool",
  sink: "bool",
  has_upstream: "bool",
  spec: "json",
  input_type: "text",
  input: "bytea",
  input_stored_bytes: "bigint",
};
const COLUMN_NAMES = Object.keys(COLUMNS).join(", ");
/** What a lease adds to them. */
const LEASE_COLUMNS = {
  agent_id: "text",
  agent_epoch: "bigint",
  capability_version: "text",
  decision: "json",
  start_to_close_ms: "bigint",
};

const INSERT_TASKS = {
  name: "tasks-insert",
  text: `INSERT INTO tasks (${COLUMN_NAMES}) SELECT ${arrayRows(COLUMNS)}`,
};

/** By itself: as a part of the statement above it would have all columns of all tasks written down once more, for both to read. */
const INSERT_BLOCKED = {
  name: "tasks-insert-blocked",
  text: `
    INSERT INTO task_states (task_id, job_id, state, pending)
    SELECT task_id, job_id, 'BLOCKED', pending FROM unnest($1::uuid[], $2::uuid[], $3::int[]) AS i(task_id, job_id, pending)`,
};

const INSERT_LEASED = {
  name: "tasks-insert-leased",
  text: `
    WITH input AS (
      SELECT *, nextval('fence_seq') AS fence FROM (SELECT ${arrayRows({ ...COLUMNS, ...LEASE_COLUMNS })}) i
    ), specs AS (
      INSERT INTO tasks (${COLUMN_NAMES}) SELECT ${COLUMN_NAMES} FROM input
    )
    INSERT INTO task_states (task_id, job_id, state, pending, attempts, fence, agent_id, agent_epoch, capability_version,
                             ready_at, leased_at, deadline_at, decision)
    SELECT task_id, job_id, 'LEASED', 0, 1, fence, agent_id, agent_epoch, capability_version,
           now(), now(), now() + start_to_close_ms * interval '1 millisecond', decision
      FROM input
    RETURNING task_id, fence, (extract(epoch FROM leased_at) * 1000)::float8 AS leased_at_ms`,
};

const INSERT_EDGES = {
  name: "edges-insert",
  text: `
    INSERT INTO edges (child_id, ordinal, parent_id, input_name, on_failure)
    SELECT * FROM unnest($1::uuid[], $2::int[], $3::uuid[], $4::text[], $5::edge_policy[])`,
};

/** Inserts tasks with their inputs and edges, and the states of those that wait for others. One that waits for nothing has no state
 * row until it is claimed.
 *
 * Cost: 1 to 4 statements in one round trip, whatever the number of tasks. */
export async function insertTasks(client: Queryable, tasks: readonly NewTask[]): Promise<void> {
  if (tasks.length === 0) return;
  await together(
    client.query(INSERT_TASKS, columnsOf(tasks)),
    insertBlocked(client, tasks.filter(isBlocked)),
    insertEdges(client, tasks),
    recordClosings(client, tasks.filter(isReady)),
  );
}

async function insertBlocked(client: Queryable, tasks: readonly NewTask[]): Promise<void> {
  if (tasks.length === 0) return;
  await client.query(INSERT_BLOCKED, [
    uuidArray(tasks.map(taskOf)),
    uuidArray(tasks.map(jobOf)),
    int4Array(tasks.map((task) => task.pending)),
  ]);
}

/** The columns of the tasks' own table. */
function columnsOf(tasks: readonly NewTask[]): unknown[] {
  return [
    uuidArray(tasks.map(taskOf)),
    uuidArray(tasks.map(jobOf)),
    int2Array(tasks.map(shardOfTask)),
    textArray(tasks.map(namespaceOf)),
    int4Array(tasks.map(ordinalOf)),
    textArray(tasks.map(keyOf)),
    textArray(tasks.map(capabilityOf)),
    int2Array(tasks.map(priorityOf)),
    boolArray(tasks.map(planningOf)),
    boolArray(tasks.map(sinkOf)),
    boolArray(tasks.map(hasUpstreamOf)),
    jsonArray(tasks.map(specOf)),
    textArray(tasks.map(inputTypeOf)),
    byteaArray(tasks.map(inputOf)),
    int8Array(tasks.map(storedBytesOf)),
  ];
}

// What is made anew for each batch V8 forgets with the next collection of the whole heap, and compiles again.
const isBlocked = (task: NewTask) => task.pending > 0;
const isReady = (task: NewTask) => task.pending === 0;
const hasParents = (task: NewTask) => task.parents.length > 0;
const taskOf = (task: NewTask) => taskUuid(task.taskId);
const jobOf = (task: NewTask) => jobUuid(task.jobId);
const shardOfTask = (task: NewTask) => shardOf(task.jobId);
const namespaceOf = (task: NewTask) => task.namespace;
const ordinalOf = (task: NewTask) => task.ordinal;
const keyOf = (task: NewTask) => task.spec.key;
const capabilityOf = (task: NewTask) => task.spec.capability;
const priorityOf = (task: NewTask) => task.priority;
const planningOf = (task: NewTask) => task.planning;
const sinkOf = (task: NewTask) => task.sink;
const hasUpstreamOf = (task: NewTask) => task.hasUpstream;
const specOf = (task: NewTask) => writeSpec(task.spec);
const inputTypeOf = (task: NewTask) => task.input?.contentType ?? null;
const inputOf = (task: NewTask) => task.input?.data ?? null;
const storedBytesOf = (task: NewTask) => task.input?.storedBytes ?? null;

/** A task that begins its life leased. */
export interface LeasedTask {
  /** It waits for nothing. */
  readonly task: NewTask;
  readonly claim: Claim;
}

/** Inserts tasks (each once) with their inputs and leases, as if they had been ready and claimed at once; returns the leases by
 * task id.
 *
 * Cost: 1 or 2 statements in one round trip, whatever the number of tasks; 2 rows a task. */
export async function insertLeasedTasks(
  client: Queryable,
  leased: readonly LeasedTask[],
): Promise<Map<string, GrantedLease>> {
  if (leased.length === 0) return new Map();
  const tasks = leased.map(({ task }) => task);
  const claims = leased.map(({ claim }) => claim);
  const inserted = client.query<{ task_id: string; fence: string; leased_at_ms: number }>(
    INSERT_LEASED,
    [
      ...columnsOf(tasks),
      textArray(claims.map((claim) => claim.agentId)),
      int8Array(claims.map((claim) => claim.agentEpoch)),
      textArray(claims.map((claim) => claim.capabilityVersion)),
      jsonArray(claims.map((claim) => writeDecision(claim.decision))),
      int8Array(claims.map((claim) => claim.task.spec.startToCloseMs)),
    ],
  );
  const [{ rows }] = await together(inserted, recordClosings(client, tasks));
  return new Map(
    rows.map((row) => [
      toTaskId(row.task_id),
      { fence: BigInt(row.fence), attempt: 1, leasedAtMs: row.leased_at_ms },
    ]),
  );
}

async function insertEdges(client: Queryable, tasks: readonly NewTask[]): Promise<void> {
  const children = tasks.filter(hasParents);
  if (children.length === 0) return;
  const edges = children.flatMap(({ taskId, parents }) =>
    parents.map((edge, ordinal) => ({ taskId, ordinal, ...edge })),
  );
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
