/** Finds what is overdue, by the database's clock. */
import { int8Array, type Queryable, uuidArray } from "@nexus/postgres";
import type { LiveTask } from "../domain/live-task.ts";
import { LIVE_TASK_COLUMNS, type LiveTaskRow, toLiveTask } from "./live-task-row.ts";
import { jobUuid, taskUuid, toJobId, toTaskId } from "./row-ids.ts";
import { pagesByTasks, type SizedJob } from "./task-pages.ts";

/** Names a lease. */
export interface LeaseRef {
  readonly taskId: string;
  readonly fence: bigint;
}

const OVERDUE_LEASES = {
  name: "due-leases",
  text: `
    SELECT i.task_id, i.fence, s.task_id IS NOT NULL AS live, coalesce(s.deadline_at <= now(), false) AS overdue
      FROM unnest($1::uuid[], $2::bigint[]) AS i(task_id, fence)
      LEFT JOIN task_states s ON s.task_id = i.task_id AND s.fence = i.fence`,
};

/** Of some leases, which attempts took longer than they may, and which are no live leases as stored. */
export interface JudgedLeases {
  readonly overdue: readonly LeaseRef[];
  readonly ended: readonly LeaseRef[];
}

/** Holds leases against the database's clock. */
export async function judgeDeadlines(
  client: Queryable,
  leases: readonly LeaseRef[],
): Promise<JudgedLeases> {
  const { rows } = await client.query<{
    task_id: string;
    fence: string;
    live: boolean;
    overdue: boolean;
  }>(OVERDUE_LEASES, [
    uuidArray(leases.map(({ taskId }) => taskUuid(taskId))),
    int8Array(leases.map(({ fence }) => fence)),
  ]);
  const toRef = (row: { readonly task_id: string; readonly fence: string }): LeaseRef => ({
    taskId: toTaskId(row.task_id),
    fence: BigInt(row.fence),
  });
  return {
    overdue: rows.filter(({ overdue }) => overdue).map(toRef),
    ended: rows.filter(({ live }) => !live).map(toRef),
  };
}

const BUSY_JOBS = {
  name: "due-busy-jobs",
  text: `
    SELECT job_id, active, total FROM jobs
     WHERE shard = ANY($1::smallint[]) AND ended_at IS NULL AND active > 0`,
};

/** A job of which tasks run. */
export interface BusyJob extends SizedJob {
  /** Live leases, as the job counts them. */
  readonly active: number;
}

/** Returns the shards' jobs that have live leases. */
export async function findBusyJobs(
  client: Queryable,
  shards: readonly number[],
): Promise<BusyJob[]> {
  const { rows } = await client.query<{ job_id: string; active: number; total: number }>(
    BUSY_JOBS,
    [shards],
  );
  return rows.map(({ job_id, active, total }) => ({ jobId: toJobId(job_id), active, total }));
}

const OVERDUE_OF_JOBS = {
  name: "due-leases-of-jobs",
  text: `
    SELECT s.task_id, s.fence
      FROM tasks t JOIN task_states s USING (task_id)
     WHERE t.job_id = ANY($1::uuid[]) AND s.fence <> 0 AND s.deadline_at <= now()
     LIMIT $2`,
};

/** Returns live leases of the jobs whose attempt took longer than it may, up to `limit` of each page of jobs. */
export async function findOverdueOfJobs(
  client: Queryable,
  jobs: readonly SizedJob[],
  limit: number,
): Promise<LeaseRef[]> {
  const found: LeaseRef[] = [];
  for (const page of pagesByTasks(jobs)) {
    const { rows } = await client.query<{ task_id: string; fence: string }>(OVERDUE_OF_JOBS, [
      page.map(jobUuid),
      limit,
    ]);
    for (const row of rows) {
      found.push({ taskId: toTaskId(row.task_id), fence: BigInt(row.fence) });
    }
  }
  return found;
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
