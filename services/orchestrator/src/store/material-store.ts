/** Reads the payloads that assignments carry: inputs, and outputs of upstream tasks. */
import { type Queryable, uuidArray } from "@nexus/postgres";
import { STORED_UPSTREAM_MAX_BYTES, UPSTREAM_MAX_BYTES } from "../domain/limits.ts";
import type { Payload } from "../domain/task.ts";
import { type PayloadRow, toPayload } from "./payload-row.ts";
import { taskUuid, toTaskId } from "./row-ids.ts";

const INPUTS = {
  name: "payloads-inputs",
  text: "SELECT task_id, content_type, data, stored_bytes FROM task_inputs WHERE task_id = ANY($1::uuid[])",
};

/** Sizes first: outputs that together exceed the limit are never read. */
const UPSTREAM = {
  name: "payloads-upstream",
  text: `
    WITH wanted AS (
      SELECT e.child_id, e.input_name, e.parent_id,
             sum(octet_length(o.data)) OVER (PARTITION BY e.child_id) AS total,
             sum(coalesce(o.stored_bytes, 0)) OVER (PARTITION BY e.child_id) AS stored
        FROM edges e JOIN task_outputs o ON o.task_id = e.parent_id
       WHERE e.child_id = ANY($1::uuid[]) AND e.input_name <> ''
    )
    SELECT w.child_id, w.input_name,
           CASE WHEN w.total <= $2 AND w.stored <= $3 THEN o.content_type END AS content_type,
           CASE WHEN w.total <= $2 AND w.stored <= $3 THEN o.data END AS data, o.stored_bytes
      FROM wanted w JOIN task_outputs o ON o.task_id = w.parent_id`,
};

/** What one task receives. */
export interface TaskMaterial {
  readonly input: Payload | undefined;
  readonly upstream: ReadonlyMap<string, Payload>;
  /** The upstream outputs exceed UPSTREAM_MAX_BYTES, or what is stored of them STORED_UPSTREAM_MAX_BYTES, and were not read. */
  readonly tooLarge: boolean;
}

interface Draft {
  input: Payload | undefined;
  upstream: Map<string, Payload>;
  tooLarge: boolean;
}

/** Reads the material of tasks; every id is present in the answer.
 *
 * Cost: 1 statement, 2 when some have upstream tasks, none for no tasks. */
export async function readMaterial(
  client: Queryable,
  taskIds: readonly string[],
  withUpstream: readonly string[],
): Promise<Map<string, TaskMaterial>> {
  const byTask = new Map<string, Draft>(
    taskIds.map((id) => [id, { input: undefined, upstream: new Map(), tooLarge: false }]),
  );
  if (taskIds.length === 0) return byTask;
  const { rows } = await client.query<PayloadRow & { readonly task_id: string }>(INPUTS, [
    uuidArray(taskIds.map(taskUuid)),
  ]);
  for (const row of rows) {
    const draft = byTask.get(toTaskId(row.task_id));
    if (draft !== undefined) draft.input = toPayload(row);
  }
  if (withUpstream.length > 0) await addUpstream(client, withUpstream, byTask);
  return byTask;
}

async function addUpstream(
  client: Queryable,
  taskIds: readonly string[],
  byTask: ReadonlyMap<string, Draft>,
): Promise<void> {
  const { rows } = await client.query<{
    child_id: string;
    input_name: string;
    content_type: string | null;
    /** Null when the outputs of its task are too large together. */
    data: Buffer | null;
    stored_bytes: string | null;
  }>(UPSTREAM, [taskIds.map(taskUuid), UPSTREAM_MAX_BYTES, STORED_UPSTREAM_MAX_BYTES]);
  for (const row of rows) {
    const draft = byTask.get(toTaskId(row.child_id));
    if (draft === undefined) continue;
    const { data } = row;
    if (data === null) draft.tooLarge = true;
    else draft.upstream.set(row.input_name, toPayload({ ...row, data }));
  }
}
