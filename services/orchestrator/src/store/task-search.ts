/** Finds tasks across the jobs of a namespace, newest first. */
import type { Queryable } from "@nexus/postgres";
import type { TaskPage, TaskSearch } from "../domain/reader.ts";
import { cutPage, type Place, startOf, type Walked } from "./page-walk.ts";
import { STATE } from "./state-row.ts";
import { TASK_COLUMNS, TASK_TABLES, type TaskRow, toTaskView } from "./task-reader.ts";

const PAGE_KIND = "task-search";
/** Most tasks that one call looks at to find those that match. */
export const TASK_LOOKS_MAX = 10_000;

/** Walks down tasks_newest. An agent matches by any attempt: the one under way, or one that ended.
 * Without a name, so that each search is planned for its own limits. */
const SEARCH = `
    WITH looked AS (
      SELECT task_id, job_id, capability, created_at FROM tasks
       WHERE namespace = $1 AND created_at >= $2::timestamptz AND (created_at, task_id) < ($3::timestamptz, $4::uuid)
       ORDER BY created_at DESC, task_id DESC
       LIMIT $5
    ), found AS (
      SELECT l.task_id, l.created_at FROM looked l LEFT JOIN task_states s USING (task_id)
       WHERE ($6 = '' OR l.capability = $6)
         AND (cardinality($7::task_state[]) = 0 OR ${STATE} = ANY($7::task_state[]))
         AND ($8 = '' OR s.failure_reason = $8)
         AND ($9 = '' OR s.agent_id = $9
              OR EXISTS (SELECT FROM past_attempts a WHERE a.task_id = l.task_id AND a.agent_id = $9))
         AND ($10::jsonb = '{}' OR EXISTS (SELECT FROM jobs j WHERE j.job_id = l.job_id AND j.labels @> $10::jsonb))
         AND ($11::timestamptz IS NULL OR s.ended_at >= $11) AND ($12::timestamptz IS NULL OR s.ended_at < $12)
       ORDER BY l.created_at DESC, l.task_id DESC
       LIMIT $13
    ), page AS (
      SELECT ${TASK_COLUMNS}, t.created_at::text AS cursor_at, t.task_id AS cursor_id
        FROM found f JOIN (${TASK_TABLES}) USING (task_id)
    )
    SELECT w.looked, w.last_at, w.last_id, p.*
      FROM (SELECT count(*)::int AS looked,
                   (SELECT created_at::text FROM looked ORDER BY created_at, task_id LIMIT 1) AS last_at,
                   (SELECT task_id FROM looked ORDER BY created_at, task_id LIMIT 1) AS last_id
              FROM looked) w
      LEFT JOIN page p ON true
     ORDER BY p.created_at DESC, p.task_id DESC`;

type Row = TaskRow & Place & Walked;

/** Finds tasks. A page may hold fewer than asked for, or none, when TASK_LOOKS_MAX were looked at.
 *
 * Errors: invalid/PAGE_TOKEN_INVALID. */
export async function searchTasks(client: Queryable, search: TaskSearch): Promise<TaskPage> {
  const { pageSize, created, ended } = search;
  const { beforeAt, beforeId } = startOf(PAGE_KIND, search.pageToken, created.until);
  const looks = isSelective(search) ? Math.max(TASK_LOOKS_MAX, pageSize + 1) : pageSize + 1;
  const { rows } = await client.query<Row | (Walked & { task_id: null })>(SEARCH, [
    search.namespace,
    created.from ?? "-infinity",
    beforeAt,
    beforeId,
    looks,
    search.capability,
    search.states,
    search.failureReason,
    search.agentId,
    JSON.stringify(search.jobLabels),
    ended.from ?? null,
    ended.until ?? null,
    pageSize + 1,
  ]);
  const found = rows.filter((row): row is Row => row.task_id !== null);
  const page = cutPage(PAGE_KIND, found, { pageSize, looks, walked: rows[0] });
  return { tasks: page.rows.map((row) => toTaskView(row)), nextPageToken: page.nextPageToken };
}

/** Whether tasks that are looked at may not match. */
function isSelective(search: TaskSearch): boolean {
  const { states, capability, agentId, failureReason, jobLabels, ended } = search;
  const named = capability !== "" || agentId !== "" || failureReason !== "";
  const labelled = Object.keys(jobLabels).length > 0;
  const timed = ended.from !== undefined || ended.until !== undefined;
  return named || labelled || timed || states.length > 0;
}
