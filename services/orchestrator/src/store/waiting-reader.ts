/** Finds what waits for an agent through the open jobs that count any of it: a task of its own says so only when it was claimed once. */
import type { Queryable } from "@nexus/postgres";
import { jobUuid, taskUuid, toJobId, toTaskId } from "./row-ids.ts";
import { WAITS } from "./state-row.ts";
import { pagesByTasks, type SizedJob } from "./task-pages.ts";

const WAITING_JOBS = {
  name: "waiting-jobs",
  text: `
    SELECT shard, job_id, total FROM jobs
     WHERE shard = ANY($1::smallint[]) AND ended_at IS NULL AND ready > 0 AND (shard, job_id) > ($2::smallint, $3::uuid)
     ORDER BY shard, job_id
     LIMIT $4`,
};

const OPEN_JOBS = {
  name: "waiting-open-jobs",
  text: WAITING_JOBS.text.replace(" AND ready > 0", ""),
};

/** An open job, and its place in the order in which they are walked through. */
export interface WaitingJob extends SizedJob {
  readonly shard: number;
}

/** Where a walk begins. */
export const FIRST_JOB: WaitingJob = {
  shard: -1,
  jobId: "job_00000000000000000000000000000000",
  total: 0,
};

/** Returns open jobs of the shards with tasks that wait for an agent, paused ones too, in the order of their shards. */
export async function findWaitingJobs(
  client: Queryable,
  shards: readonly number[],
  walk: WalkStep,
): Promise<WaitingJob[]> {
  return walkJobs(client, WAITING_JOBS, shards, walk);
}

/** Where a page of jobs begins, and how many it has. */
interface WalkStep {
  readonly after: WaitingJob;
  readonly limit: number;
}

async function walkJobs(
  client: Queryable,
  statement: typeof WAITING_JOBS,
  shards: readonly number[],
  { after, limit }: WalkStep,
): Promise<WaitingJob[]> {
  const { rows } = await client.query<{ shard: number; job_id: string; total: number }>(statement, [
    shards,
    after.shard,
    jobUuid(after.jobId),
    limit,
  ]);
  return rows.map(({ shard, job_id, total }) => ({ shard, jobId: toJobId(job_id), total }));
}

const WAITING_TASKS = `
    SELECT t.task_id, coalesce(s.attempts, 0) AS attempts FROM tasks t LEFT JOIN task_states s USING (task_id)
     WHERE ${WAITS}`;
const WAITING_OF_JOBS = {
  name: "waiting-of-jobs",
  text: `${WAITING_TASKS} AND t.job_id = ANY($1::uuid[])`,
};
const WAITING_AMONG = {
  name: "waiting-among",
  text: `${WAITING_TASKS} AND t.task_id = ANY($1::uuid[])`,
};

/** A task that waits for an agent as stored. */
export interface StoredWait {
  readonly taskId: string;
  readonly attempts: number;
}

interface WaitRow {
  readonly task_id: string;
  readonly attempts: number;
}

const toWait = ({ task_id, attempts }: WaitRow): StoredWait => ({
  taskId: toTaskId(task_id),
  attempts,
});

/** Returns those of the tasks that wait for an agent. */
export async function findWaitingTasks(
  client: Queryable,
  taskIds: readonly string[],
): Promise<StoredWait[]> {
  if (taskIds.length === 0) return [];
  const { rows } = await client.query<WaitRow>(WAITING_AMONG, [taskIds.map(taskUuid)]);
  return rows.map(toWait);
}

/** Most jobs, and most tasks of them unless one job has more, that one look at the tables is about. */
const LOOK_JOBS = 1_000;
const LOOK_TASKS = 5_000;

/** A part of what is open, and where the next part begins. */
export interface WaitingPart {
  readonly jobIds: readonly string[];
  /** Those of the jobs' tasks that wait for an agent. */
  readonly tasks: readonly StoredWait[];
  readonly next: WaitingJob;
}

/** Reads the next part of the open jobs in the shards, whatever they count, with what waits of them; behind the last one comes the first.
 *
 * Cost: 2 statements. */
export async function readWaitingPart(
  client: Queryable,
  shards: readonly number[],
  after: WaitingJob,
): Promise<WaitingPart> {
  const jobs = await walkJobs(client, OPEN_JOBS, shards, { after, limit: LOOK_JOBS });
  const [page = []] = pagesByTasks(jobs, LOOK_TASKS);
  const isLast = jobs.length < LOOK_JOBS && page.length === jobs.length;
  const next = isLast ? FIRST_JOB : (jobs[page.length - 1] ?? FIRST_JOB);
  if (page.length === 0) return { jobIds: [], tasks: [], next };
  const { rows } = await client.query<WaitRow>(WAITING_OF_JOBS, [page.map(jobUuid)]);
  return { jobIds: page, tasks: rows.map(toWait), next };
}

const WAITING_IN_SHARDS = {
  name: "waiting-in-shards",
  text: `
    SELECT shard, sum(ready)::int AS ready FROM jobs
     WHERE shard = ANY($1::smallint[]) AND ended_at IS NULL AND state <> 'PAUSED'
     GROUP BY shard`,
};

/** Counts the tasks that wait for an agent in each shard, as their jobs do. What paused jobs withhold is left out.
 *
 * Cost: 1 statement that reads the shards' open jobs. */
export async function countWaitingIn(
  client: Queryable,
  shards: readonly number[],
): Promise<Map<number, number>> {
  const { rows } = await client.query<{ shard: number; ready: number }>(WAITING_IN_SHARDS, [
    shards,
  ]);
  return new Map(rows.map(({ shard, ready }) => [shard, ready]));
}
