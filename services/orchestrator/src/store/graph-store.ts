/** What the end of tasks does to the tasks behind them. */
import type { Queryable } from "@nexus/postgres";
import type { LiveTask } from "../domain/live-task.ts";
import { LIVE_TASK_COLUMNS, type LiveTaskRow, toLiveTask } from "./live-task-row.ts";
import { taskUuid, toJobId, toTaskId } from "./row-ids.ts";

/** Two parents of one child that end in one batch are counted together: an UPDATE touches each row once only. */
const UNBLOCK = {
  name: "graph-unblock",
  text: `
    WITH freed AS (
      SELECT child_id, count(*)::int AS edges
        FROM (SELECT child_id FROM edges WHERE parent_id = ANY($1::uuid[])
               UNION ALL
              SELECT child_id FROM edges WHERE parent_id = ANY($2::uuid[]) AND on_failure = 'CONTINUE') e
       GROUP BY child_id
    ), held AS (
      SELECT s.task_id, f.edges
        FROM task_states s JOIN freed f ON f.child_id = s.task_id
       WHERE s.state = 'BLOCKED'
       ORDER BY s.task_id
         FOR NO KEY UPDATE OF s
    ), moved AS (
      UPDATE task_states s
         SET pending = s.pending - h.edges,
             state = CASE WHEN s.pending = h.edges THEN 'READY' ELSE s.state END,
             ready_at = CASE WHEN s.pending = h.edges THEN now() END
        FROM held h
       WHERE s.task_id = h.task_id
      RETURNING s.*
    )
    SELECT ${LIVE_TASK_COLUMNS}
      FROM moved s JOIN tasks t USING (task_id) JOIN jobs j ON j.job_id = s.job_id
     WHERE s.state = 'READY'
     ORDER BY t.job_id, t.ordinal`,
};

/** Counts ended parents off their children: those that succeeded, and along CONTINUE edges those that did not. Returns
 * the children that wait for nothing now. */
export async function unblockChildren(
  client: Queryable,
  succeeded: readonly string[],
  unsuccessful: readonly string[],
): Promise<LiveTask[]> {
  if (succeeded.length === 0 && unsuccessful.length === 0) return [];
  const { rows } = await client.query<LiveTaskRow>(UNBLOCK, [
    succeeded.map(taskUuid),
    unsuccessful.map(taskUuid),
  ]);
  return rows.map(toLiveTask);
}

const SKIP = {
  name: "graph-skip",
  text: `
    WITH RECURSIVE below AS (
      SELECT e.child_id, f.task_key
        FROM unnest($1::uuid[], $2::text[]) AS f(task_id, task_key)
        JOIN edges e ON e.parent_id = f.task_id AND e.on_failure <> 'CONTINUE'
       UNION
      SELECT e.child_id, b.task_key
        FROM below b JOIN edges e ON e.parent_id = b.child_id AND e.on_failure <> 'CONTINUE'
    ), cause AS (
      SELECT child_id, min(task_key) AS task_key FROM below GROUP BY child_id
    ), held AS (
      SELECT s.task_id, c.task_key
        FROM task_states s JOIN cause c ON c.child_id = s.task_id
       WHERE s.state = 'BLOCKED'
       ORDER BY s.task_id
         FOR NO KEY UPDATE OF s
    ), moved AS (
      UPDATE task_states s
         SET state = 'SKIPPED', ended_at = now(), failure_reason = 'UPSTREAM_FAILED',
             failure_message = 'A task that it depends on did not succeed.', failure_task_key = h.task_key
        FROM held h
       WHERE s.task_id = h.task_id
      RETURNING s.task_id, s.job_id, s.failure_message, s.failure_task_key
    )
    SELECT m.task_id, m.job_id, t.task_key, m.failure_message, m.failure_task_key,
           t.spec->'feedsMap' IS NOT NULL AS feeds_map
      FROM moved m JOIN tasks t USING (task_id)
     ORDER BY t.job_id, t.ordinal`,
};

/** A task that will never run. */
export interface SkippedTask {
  readonly taskId: string;
  readonly jobId: string;
  readonly namespace: string;
  readonly key: string;
  readonly message: string;
  /** The task that failed first. */
  readonly causeKey: string;
  /** A mapped task depends on it. */
  readonly feedsMap: boolean;
}

/** Skips everything behind failed tasks, however far, but for what lies behind a CONTINUE edge; returns what was skipped. */
export async function skipDescendants(
  client: Queryable,
  failed: readonly { readonly taskId: string; readonly key: string }[],
): Promise<SkippedTask[]> {
  if (failed.length === 0) return [];
  const { rows } = await client.query<{
    task_id: string;
    job_id: string;
    namespace: string;
    task_key: string;
    failure_message: string;
    failure_task_key: string;
    feeds_map: boolean;
  }>(SKIP, [failed.map((task) => taskUuid(task.taskId)), failed.map((task) => task.key)]);
  return rows.map((row) => ({
    taskId: toTaskId(row.task_id),
    jobId: toJobId(row.job_id),
    namespace: row.namespace,
    key: row.task_key,
    message: row.failure_message,
    causeKey: row.failure_task_key,
    feedsMap: row.feeds_map,
  }));
}
