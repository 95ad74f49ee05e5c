/** Finds what is overdue, by the database's clock. */
import { int8Array, type Queryable, uuidArray } from "@nexus/postgres";
import type { LiveTask } from "../domain/live-task.ts";
import { LIVE_TASK_COLUMNS, type LiveTaskRow, toLiveTask } from "./live-task-row.ts";
import { jobUuid, taskUuid, toJobId, toTaskId } from "./row-ids.ts";
import { makeStateRows, READY_AT, WAIT_MS, WAITS } from "./state-row.ts";
import { pagesByTasks, type SizedJob } from "./task-pages.ts";

/** Until when a task may wait for an agent, over `tasks t LEFT JOIN task_states s`. */
const START_BY = `(${READY_AT}) + ${WAIT_MS} * interval '1 millisecond'`;

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

const JUDGE_WAITS = {
  name: "due-judge-waits",
  text: `
    SELECT i.task_id, t.task_id IS NOT NULL AND ${WAITS} AS waits, coalesce(${START_BY} <= now(), false) AS overdue
      FROM unnest($1::uuid[]) AS i(task_id)
      LEFT JOIN tasks t ON t.task_id = i.task_id
      LEFT JOIN task_states s ON s.task_id = i.task_id`,
};

/** Of some tasks, which have waited for an agent longer than they may, and which do not wait for one as stored. */
export interface JudgedWaits {
  readonly overdue: readonly string[];
  readonly ended: readonly string[];
}

/** Holds waits for an agent against the database's clock. */
export async function judgeWaits(
  client: Queryable,
  taskIds: readonly string[],
): Promise<JudgedWaits> {
  const { rows } = await client.query<{ task_id: string; waits: boolean; overdue: boolean }>(
    JUDGE_WAITS,
    [uuidArray(taskIds.map(taskUuid))],
  );
  const idsOf = (some: typeof rows) => some.map((row) => toTaskId(row.task_id));
  return {
    overdue: idsOf(rows.filter(({ waits, overdue }) => waits && overdue)),
    ended: idsOf(rows.filter(({ waits }) => !waits)),
  };
}

const EXPIRE = {
  name: "due-expire",
  text: `
    WITH s AS (
      UPDATE task_states s
         SET state = 'FAILED', ended_at = now(), failure_reason = 'NO_AGENT_IN_TIME', failure_message = i.message,
             failure_task_key = NULL
        FROM unnest($1::uuid[], $2::text[]) AS i(task_id, message) JOIN tasks t USING (task_id)
       WHERE s.task_id = i.task_id AND ${WAITS} AND ${START_BY} <= now()
      RETURNING s.*
    )
    SELECT ${LIVE_TASK_COLUMNS}
      FROM s JOIN tasks t USING (task_id) JOIN jobs j ON j.job_id = t.job_id`,
};

/** Fails those of the tasks that still wait for an agent and are overdue, each with its message; returns them.
 *
 * Cost: 2 statements. */
export async function expireReady(
  client: Queryable,
  messages: ReadonlyMap<string, string>,
): Promise<LiveTask[]> {
  if (messages.size === 0) return [];
  const taskIds = [...messages.keys()];
  await makeStateRows(client, taskIds);
  const { rows } = await client.query<LiveTaskRow>(EXPIRE, [
    taskIds.map(taskUuid),
    [...messages.values()],
  ]);
  return rows.map(toLiveTask);
}
