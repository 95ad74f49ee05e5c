/** Lists jobs for callers, newest first, always inside one namespace. */
import type { Queryable } from "@nexus/postgres";
import type { JobFilter, JobPage } from "../domain/reader.ts";
import { JOB_COLUMNS, type JobRow, toJobView } from "./job-reader.ts";
import { cutPage, type Place, startOf, type Walked } from "./page-walk.ts";

const PAGE_KIND = "jobs";
/** Most jobs that one call looks at to find those that match: all tasks of a job may have to be asked. */
export const JOB_LOOKS_MAX = 1_000;

/** The jobs of a namespace in their order, and those of them that match. Without a name, so that each list is planned for
 * its own limits. */
const LIST = `
    WITH looked AS (
      SELECT * FROM jobs
       WHERE namespace = $1 AND created_at >= $2::timestamptz AND (created_at, job_id) < ($3::timestamptz, $4::uuid)
       ORDER BY created_at DESC, job_id DESC
       LIMIT $5
    ), found AS (
      SELECT ${JOB_COLUMNS}, created_at::text AS cursor_at, job_id AS cursor_id FROM looked j
       WHERE (cardinality($6::job_state[]) = 0 OR state = ANY($6::job_state[]))
         AND ($7 = '' OR principal_id = $7)
         AND ($8::timestamptz IS NULL OR ended_at >= $8) AND ($9::timestamptz IS NULL OR ended_at < $9)
         AND ($10 = '' OR EXISTS (SELECT FROM tasks t WHERE t.job_id = j.job_id AND t.capability = $10))
         AND ($11 = '' OR EXISTS (
               SELECT FROM tasks t JOIN task_states s USING (task_id)
                WHERE t.job_id = j.job_id AND (s.agent_id = $11 OR EXISTS (
                        SELECT FROM past_attempts a WHERE a.task_id = t.task_id AND a.agent_id = $11))))
       ORDER BY created_at DESC, job_id DESC
       LIMIT $12
    )
    SELECT w.looked, w.last_at, w.last_id, f.*
      FROM (SELECT count(*)::int AS looked,
                   (SELECT created_at::text FROM looked ORDER BY created_at, job_id LIMIT 1) AS last_at,
                   (SELECT job_id FROM looked ORDER BY created_at, job_id LIMIT 1) AS last_id
              FROM looked) w
      LEFT JOIN found f ON true
     ORDER BY f.created_at DESC, f.job_id DESC`;

/** A statement of its own, so that the planner sees the condition of the labels' index. */
const LIST_BY_LABELS = LIST.replace("WHERE", "WHERE labels <> '{}' AND labels @> $13::jsonb AND");

type Row = JobRow & Place & Walked;

/** Lists jobs. A page may hold fewer than asked for, or none, when JOB_LOOKS_MAX were looked at.
 *
 * Errors: invalid/PAGE_TOKEN_INVALID. */
export async function listJobs(client: Queryable, filter: JobFilter): Promise<JobPage> {
  const { pageSize, created, ended } = filter;
  const { beforeAt, beforeId } = startOf(PAGE_KIND, filter.pageToken, created.until);
  const looks = isSelective(filter) ? Math.max(JOB_LOOKS_MAX, pageSize + 1) : pageSize + 1;
  const values = [
    filter.namespace,
    created.from ?? "-infinity",
    beforeAt,
    beforeId,
    looks,
    filter.states,
    filter.principalId,
    ended.from ?? null,
    ended.until ?? null,
    filter.capability,
    filter.agentId,
    pageSize + 1,
  ];
  const labelled = Object.keys(filter.labels).length > 0;
  const { rows } = await client.query<Row | (Walked & { job_id: null })>(
    labelled ? LIST_BY_LABELS : LIST,
    labelled ? [...values, JSON.stringify(filter.labels)] : values,
  );
  const found = rows.filter((row): row is Row => row.job_id !== null);
  const page = cutPage(PAGE_KIND, found, { pageSize, looks, walked: rows[0] });
  return { jobs: page.rows.map(toJobView), nextPageToken: page.nextPageToken };
}

/** Whether jobs that are looked at may not match. */
function isSelective({ states, principalId, capability, agentId, ended }: JobFilter): boolean {
  const named = principalId !== "" || capability !== "" || agentId !== "";
  return named || states.length > 0 || ended.from !== undefined || ended.until !== undefined;
}
