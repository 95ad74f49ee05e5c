/** Mapped tasks: their elements as tasks, and what they put out as one list. */
import type { Queryable } from "@nexus/postgres";
import type { EdgePolicy } from "../domain/edge-policy.ts";
import type { LiveTask } from "../domain/live-task.ts";
import type { Failure, Payload, StoredTaskSpec } from "../domain/task.ts";
import { statesThatAllow } from "../domain/task-state.ts";
import { LIVE_TASK_COLUMNS, type LiveTaskRow, toLiveTask } from "./live-task-row.ts";
import { readMaterial, type TaskMaterial } from "./material-store.ts";
import { type PayloadRow, toPayload } from "./payload-row.ts";
import { taskUuid, toTaskId } from "./row-ids.ts";
import { readSpec } from "./spec-row.ts";
import { toBuffer } from "./task-insert.ts";

/** A mapped task waits for one edge more than it has, so that it never becomes ready: that one left is what is looked for. */
const DUE = {
  name: "map-due",
  text: `
    SELECT ${LIVE_TASK_COLUMNS}, (extract(epoch FROM now()) * 1000)::float8 AS now_ms,
           EXISTS (SELECT FROM map_items i WHERE i.parent_id = t.task_id) AS expanded,
           NOT t.sink AND NOT EXISTS (
             SELECT FROM edges e WHERE e.parent_id = t.task_id AND e.on_failure = 'FAIL') AS tolerated,
           (SELECT max(x.ordinal) + 1 FROM tasks x WHERE x.job_id = t.job_id) AS next_ordinal,
           (SELECT count(*)::int FROM tasks x WHERE x.job_id = t.job_id) AS job_tasks
      FROM tasks t JOIN task_states s USING (task_id) JOIN jobs j ON j.job_id = t.job_id
     WHERE t.task_id IN (SELECT child_id FROM edges WHERE parent_id = ANY($1::uuid[]) UNION SELECT unnest($2::uuid[]))
       AND s.state = 'BLOCKED' AND s.pending = 1 AND t.spec->'map' IS NOT NULL
     ORDER BY t.job_id, t.ordinal`,
};

/** A mapped task whose next step is due. */
export interface DueMap {
  readonly task: LiveTask;
  /** With its dependencies and what it is mapped over. */
  readonly spec: StoredTaskSpec;
  /** The tasks of its elements were made, and have all succeeded; else its dependencies have. */
  readonly expanded: boolean;
  /** What the failure of an element means for the job is what the failure of the whole would. */
  readonly policy: EdgePolicy;
  readonly nextOrdinal: number;
  readonly jobTasks: number;
  readonly nowMs: number;
}

/** Finds mapped tasks for which everything is there, among those behind ended tasks and those named. */
export async function findDueMaps(
  client: Queryable,
  ended: readonly string[],
  named: readonly string[],
): Promise<DueMap[]> {
  if (ended.length === 0 && named.length === 0) return [];
  const { rows } = await client.query<
    LiveTaskRow & {
      readonly now_ms: number;
      readonly expanded: boolean;
      readonly tolerated: boolean;
      readonly next_ordinal: number;
      readonly job_tasks: number;
    }
  >(DUE, [ended.map(taskUuid), named.map(taskUuid)]);
  return rows.map((row) => ({
    task: toLiveTask(row),
    spec: readSpec(row.spec),
    expanded: row.expanded,
    policy: row.tolerated ? "SKIP" : "FAIL",
    nextOrdinal: row.next_ordinal,
    jobTasks: row.job_tasks,
    nowMs: row.now_ms,
  }));
}

const SOURCE = {
  name: "map-source",
  text: `
    SELECT o.content_type, o.data, o.stored_bytes
      FROM edges e JOIN task_outputs o ON o.task_id = e.parent_id
     WHERE e.child_id = $1 AND e.ordinal = $2`,
};

/** Reads the output of a task's nth dependency. */
export async function readDependencyOutput(
  client: Queryable,
  taskId: string,
  position: number,
): Promise<Payload | undefined> {
  const { rows } = await client.query<PayloadRow>(SOURCE, [taskUuid(taskId), position]);
  return rows[0] === undefined ? undefined : toPayload(rows[0]);
}

const OUTPUTS = {
  name: "map-outputs",
  text: `
    SELECT o.content_type, o.data, o.stored_bytes
      FROM map_items i
      LEFT JOIN output_refs r USING (task_id)
      JOIN task_outputs o ON o.task_id = coalesce(r.source_id, i.task_id)
     WHERE i.parent_id = $1
     ORDER BY i.position`,
};

const OUTPUT_BYTES = {
  name: "map-output-bytes",
  text: `
    SELECT coalesce(sum(octet_length(o.data)), 0)::int AS bytes
      FROM map_items i
      LEFT JOIN output_refs r USING (task_id)
      JOIN task_outputs o ON o.task_id = coalesce(r.source_id, i.task_id)
     WHERE i.parent_id = $1`,
};

/** Reads what the tasks of the elements put out, in order; undefined when that is more than `maxBytes` and was not read. */
export async function readItemOutputs(
  client: Queryable,
  taskId: string,
  maxBytes: number,
): Promise<Payload[] | undefined> {
  const size = await client.query<{ bytes: number }>(OUTPUT_BYTES, [taskUuid(taskId)]);
  if ((size.rows[0]?.bytes ?? 0) > maxBytes) return undefined;
  const { rows } = await client.query<PayloadRow>(OUTPUTS, [taskUuid(taskId)]);
  return rows.map(toPayload);
}

const EXPAND = {
  name: "map-expand",
  text: `
    WITH input AS (
      SELECT * FROM unnest($2::uuid[], $3::int[], $4::bytea[]) AS i(task_id, position, data)
    ), items AS (
      INSERT INTO map_items (task_id, parent_id, position, data) SELECT task_id, $1, position, data FROM input
    ), behind AS (
      INSERT INTO edges (child_id, ordinal, parent_id, input_name, on_failure)
      SELECT $1, $5 + position, task_id, '', $6::edge_policy FROM input
    )
    UPDATE task_states SET pending = pending + cardinality($2::uuid[]) WHERE task_id = $1`,
};

/** Ties the tasks of the elements, inserted already, to the mapped task, which waits for them from now on. */
export async function tieItems(
  client: Queryable,
  { task, spec, policy }: DueMap,
  items: readonly { readonly taskId: string; readonly data: string }[],
): Promise<void> {
  await client.query(EXPAND, [
    taskUuid(task.taskId),
    items.map((item) => taskUuid(item.taskId)),
    items.map((_item, index) => index),
    items.map((item) => Buffer.from(item.data)),
    spec.dependencies.length,
    policy,
  ]);
}

const GATHER = {
  name: "map-gather",
  text: `
    UPDATE task_states
       SET state = 'SUCCEEDED', pending = 0, ended_at = now(), output_type = $2, output = $3
     WHERE task_id = $1 AND state = ANY($4::task_state[])`,
};
const GATHERING_STATES = statesThatAllow("GATHER");

/** Ends a mapped task with its list. */
export async function gatherMap(client: Queryable, taskId: string, output: Payload): Promise<void> {
  const { contentType, data } = output;
  await client.query(GATHER, [taskUuid(taskId), contentType, toBuffer(data), GATHERING_STATES]);
}

const REJECT = {
  name: "map-reject",
  text: `
    UPDATE task_states
       SET state = 'FAILED', ended_at = now(), failure_reason = $2, failure_message = $3, failure_task_key = NULL
     WHERE task_id = $1 AND state = ANY($4::task_state[])`,
};
const REJECTING_STATES = statesThatAllow("REJECT");

/** Fails a mapped task whose list cannot be mapped over, or not be put together. */
export async function rejectMap(
  client: Queryable,
  taskId: string,
  failure: Failure,
): Promise<void> {
  const { reason, message } = failure;
  await client.query(REJECT, [taskUuid(taskId), reason, message, REJECTING_STATES]);
}

const ITEMS = {
  name: "map-items",
  text: `
    SELECT i.task_id, i.parent_id, i.data, t.spec->'mapItem'->>'itemName' AS item_name
      FROM map_items i JOIN tasks t USING (task_id)
     WHERE i.task_id = ANY($1::uuid[])`,
};

/** Reads the material of tasks that have an element each: the mapped task's own, and the element.
 *
 * Cost: 3 statements. */
export async function readItemMaterial(
  client: Queryable,
  taskIds: readonly string[],
): Promise<Map<string, TaskMaterial>> {
  if (taskIds.length === 0) return new Map();
  const { rows } = await client.query<{
    task_id: string;
    parent_id: string;
    data: Buffer;
    item_name: string;
  }>(ITEMS, [taskIds.map(taskUuid)]);
  const parents = [...new Set(rows.map((row) => toTaskId(row.parent_id)))];
  const shared = await readMaterial(client, parents, parents);
  return new Map(
    rows.map((row) => {
      const { input, upstream, tooLarge } = shared.get(toTaskId(row.parent_id)) as TaskMaterial;
      const item: Payload = { contentType: "application/json", data: row.data };
      const own = new Map([...upstream, [row.item_name, item] as const]);
      return [toTaskId(row.task_id), { input, upstream: own, tooLarge }];
    }),
  );
}

const COPY_ITEMS = {
  name: "map-copy-items",
  text: `
    INSERT INTO map_items (task_id, parent_id, position, data)
    SELECT c.task_id, c.parent_id, i.position, i.data
      FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS c(prior_id, task_id, parent_id)
      JOIN map_items i ON i.task_id = c.prior_id`,
};

/** Gives tasks of a new generation the elements of those that they repeat or keep. */
export async function copyItems(
  client: Queryable,
  copies: readonly {
    readonly priorId: string;
    readonly taskId: string;
    readonly parentId: string;
  }[],
): Promise<void> {
  if (copies.length === 0) return;
  await client.query(COPY_ITEMS, [
    copies.map((copy) => taskUuid(copy.priorId)),
    copies.map((copy) => taskUuid(copy.taskId)),
    copies.map((copy) => taskUuid(copy.parentId)),
  ]);
}
