/** Finds what is overdue, by the database's clock. */
import type { Queryable } from "@nexus/postgres";
import type { LiveTask } from "../domain/live-task.ts";
import { LIVE_TASK_COLUMNS, type LiveTaskRow, toLiveTask } from "./live-task-row.ts";
import { taskUuid, toTaskId } from "./row-ids.ts";

const OVERDUE_LEASES = {
  name: "due-leases",
  text: `
    SELECT task_id, fence FROM leases
     WHERE deadline_at <= now() AND shard = ANY($2::smallint[]) ORDER BY deadline_at LIMIT $1`,
};

/** Returns leases of the shards whose attempt took longer than it may, the longest overdue first. */
export async function findOverdueLeases(
  client: Queryable,
  shards: readonly number[],
  limit: number,
): Promise<{ readonly taskId: string; readonly fence: bigint }[]> {
  const { rows } = await client.query<{ task_id: string; fence: string }>(OVERDUE_LEASES, [
    limit,
    shards,
  ]);
  return rows.map((row) => ({ taskId: toTaskId(row.task_id), fence: BigInt(row.fence) }));
}

const OVERDUE_READY = {
  name: "due-ready",
  text: `
    SELECT task_id FROM ready
     WHERE start_by <= now() AND shard = ANY($2::smallint[]) ORDER BY start_by LIMIT $1`,
};

/** Returns tasks of the shards that have waited for an agent longer than they may. */
export async function findOverdueReady(
  client: Queryable,
  shards: readonly number[],
  limit: number,
): Promise<string[]> {
  const { rows } = await client.query<{ task_id: string }>(OVERDUE_READY, [limit, shards]);
  return rows.map((row) => toTaskId(row.task_id));
}

const EXPIRE = {
  name: "due-expire",
  text: `
    WITH late AS (
      DELETE FROM ready WHERE task_id = ANY($1::uuid[]) AND start_by <= now() AND shard = ANY($3::smallint[])
      RETURNING task_id
    ), s AS (
      UPDATE task_states s
         SET state = 'FAILED', ended_at = now(), failure_reason = 'NO_AGENT_IN_TIME', failure_message = $2,
             failure_task_key = NULL
        FROM late l
       WHERE s.task_id = l.task_id AND s.state = 'READY'
      RETURNING s.*
    )
    SELECT ${LIVE_TASK_COLUMNS}
      FROM s JOIN tasks t USING (task_id) JOIN jobs j ON j.job_id = t.job_id`,
};

/** Fails those of the tasks that still wait in these shards and are overdue; returns them. */
export async function expireReady(
  client: Queryable,
  taskIds: readonly string[],
  order: { readonly shards: readonly number[]; readonly message: string },
): Promise<LiveTask[]> {
  const { rows } = await client.query<LiveTaskRow>(EXPIRE, [
    taskIds.map(taskUuid),
    order.message,
    order.shards,
  ]);
  return rows.map(toLiveTask);
}
