/** Until when tasks may take in all (schedule_to_close), by the database's clock. */
import type { Queryable } from "@nexus/postgres";
import type { LiveSpec, LiveTask } from "../domain/live-task.ts";
import type { Failure } from "../domain/task.ts";
import {
  isTerminalTaskState,
  statesThatAllow,
  TASK_STATES,
  type TaskState,
} from "../domain/task-state.ts";
import { LIVE_TASK_COLUMNS, type LiveTaskRow, toLiveTask } from "./live-task-row.ts";
import { taskUuid, toTaskId } from "./row-ids.ts";
import { makeStateRows, STATE } from "./state-row.ts";

const RECORD = {
  name: "closing-record",
  text: `
    INSERT INTO task_closings (task_id, shard, close_by)
    SELECT t.task_id, t.shard, now() + i.close_ms * interval '1 millisecond'
      FROM unnest($1::uuid[], $2::bigint[]) AS i(task_id, close_ms) JOIN tasks t USING (task_id)
        ON CONFLICT ON CONSTRAINT task_closings_pkey DO NOTHING`,
};

interface Bounded {
  readonly taskId: string;
  readonly spec: Pick<LiveSpec, "scheduleToCloseMs">;
}

// Made anew for each batch, V8 would compile it again after each collection of the whole heap.
const isLimited = ({ spec }: Bounded) => spec.scheduleToCloseMs !== undefined;

/** Starts the clock of tasks that became ready for the first time.
 *
 * Cost: 1 statement, none when no task has such a limit. */
export async function recordClosings(client: Queryable, tasks: readonly Bounded[]): Promise<void> {
  const limited = tasks.filter(isLimited);
  if (limited.length === 0) return;
  await client.query(RECORD, [
    limited.map(({ taskId }) => taskUuid(taskId)),
    limited.map(({ spec }) => spec.scheduleToCloseMs),
  ]);
}

const FIND_DUE = {
  name: "closing-find-due",
  text: `
    SELECT c.task_id, ${STATE} AS state, coalesce(s.fence, 0) AS fence
      FROM task_closings c LEFT JOIN task_states s USING (task_id)
     WHERE c.close_by <= now() AND c.shard = ANY($2::smallint[]) AND s.withheld_delay_ms IS NULL
     ORDER BY c.close_by
     LIMIT $1`,
};

/** A task whose time is over. */
export interface DueClosing {
  readonly taskId: string;
  readonly state: TaskState;
  /** Of the live lease; 0 when there is none. */
  readonly fence: bigint;
}

/** Returns tasks of the shards whose time is over, ended ones included, the longest overdue first. What waits in a paused job is left
 * until that goes on. */
export async function findDueClosings(
  client: Queryable,
  shards: readonly number[],
  limit: number,
): Promise<DueClosing[]> {
  const { rows } = await client.query<{ task_id: string; state: TaskState; fence: string }>(
    FIND_DUE,
    [limit, shards],
  );
  return rows.map((row) => ({
    taskId: toTaskId(row.task_id),
    state: row.state,
    fence: BigInt(row.fence),
  }));
}

const FORGET = {
  name: "closing-forget",
  text: `
    DELETE FROM task_closings c USING task_states s
     WHERE c.task_id = ANY($1::uuid[]) AND s.task_id = c.task_id AND s.state = ANY($2::task_state[])`,
};
const ENDED_STATES = TASK_STATES.filter(isTerminalTaskState);

/** Forgets the limits of those of the tasks that have ended; returns how many. */
export async function forgetClosings(
  client: Queryable,
  taskIds: readonly string[],
): Promise<number> {
  if (taskIds.length === 0) return 0;
  const { rowCount } = await client.query(FORGET, [taskIds.map(taskUuid), ENDED_STATES]);
  return rowCount;
}

const CLOSE_WAITING = {
  name: "closing-close-waiting",
  text: `
    WITH s AS (
      UPDATE task_states s
         SET state = 'FAILED', ended_at = now(), failure_reason = $2, failure_message = $3, failure_task_key = NULL
        FROM task_closings c
       WHERE c.task_id = ANY($1::uuid[]) AND c.close_by <= now() AND s.task_id = c.task_id
         AND s.state = ANY($4::task_state[]) AND s.withheld_delay_ms IS NULL
      RETURNING s.*
    )
    SELECT ${LIVE_TASK_COLUMNS}
      FROM s JOIN tasks t USING (task_id) JOIN jobs j ON j.job_id = t.job_id`,
};
const WAITING_STATES = statesThatAllow("EXPIRE");

/** Fails those of the tasks that still wait for an agent and whose time is over; returns them.
 *
 * Cost: 2 statements. */
export async function closeWaiting(
  client: Queryable,
  taskIds: readonly string[],
  failure: Failure,
): Promise<LiveTask[]> {
  if (taskIds.length === 0) return [];
  await makeStateRows(client, taskIds);
  const { rows } = await client.query<LiveTaskRow>(CLOSE_WAITING, [
    taskIds.map(taskUuid),
    failure.reason,
    failure.message,
    WAITING_STATES,
  ]);
  return rows.map(toLiveTask);
}
