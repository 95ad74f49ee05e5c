/** Removes jobs that ended long ago, with every row that is theirs alone. */
import { type Queryable, type Transaction, together, uuidArray } from "@nexus/postgres";
import { jobUuid, toJobId } from "./row-ids.ts";
import type { SizedJob } from "./task-pages.ts";

/** A place among the jobs that ended, in the order of their ends. */
export interface EndedPlace {
  readonly endedAt: string;
  readonly jobId: string;
}

/** Before every job that ended. */
export const FIRST_ENDED: EndedPlace = {
  endedAt: "-infinity",
  jobId: "job_00000000000000000000000000000000",
};

/** A job that ended long ago. */
export interface OldJob extends SizedJob, EndedPlace {}

const FIND_OLD = {
  name: "retention-find-old",
  text: `
    SELECT job_id, total, ended_at::text AS ended_at FROM jobs
     WHERE ended_at < now() - $1::bigint * interval '1 millisecond'
       AND (ended_at, job_id) > ($2::timestamptz, $3::uuid)
       AND shard = ANY($4::smallint[])
     ORDER BY ended_at, job_id LIMIT $5`,
};

/** Returns jobs of the shards that ended more than `ageMs` ago, by the database's clock, behind a place and at most `limit`. */
export async function findOldJobs(
  client: Queryable,
  shards: readonly number[],
  { ageMs, after, limit }: { ageMs: number; after: EndedPlace; limit: number },
): Promise<OldJob[]> {
  const { rows } = await client.query<{ job_id: string; total: number; ended_at: string }>(
    FIND_OLD,
    [ageMs, after.endedAt, jobUuid(after.jobId), shards, limit],
  );
  return rows.map((row) => ({
    jobId: toJobId(row.job_id),
    total: row.total,
    endedAt: row.ended_at,
  }));
}

/** A retry or replay holds its job with FOR KEY SHARE until it is stored (generation-store.ts): such a job is left for the next time. */
const HOLD = {
  name: "retention-hold",
  text: `
    SELECT job_id FROM jobs WHERE job_id = ANY($1::uuid[]) AND ended_at IS NOT NULL
       FOR UPDATE SKIP LOCKED`,
};

/** Whoever redrives one holds it as well, in the same order: so this waits, and then knows the job that was made of it. */
const HOLD_LETTERS = {
  name: "retention-hold-letters",
  text: `
    SELECT t.job_id, d.redriven_job_id
      FROM tasks t JOIN dead_letters d USING (task_id)
     WHERE t.job_id = ANY($1::uuid[])
     ORDER BY d.failed_at, d.task_id
       FOR UPDATE OF d`,
};

/** A later generation keeps outputs and inputs of the earlier ones by reference. */
const CONTINUED = {
  name: "retention-continued",
  text: `
    SELECT j.job_id FROM jobs j
     WHERE j.job_id = ANY($1::uuid[])
       AND EXISTS (SELECT FROM jobs g WHERE g.origin_job_id = coalesce(j.origin_job_id, j.job_id)
                                        AND g.generation > j.generation)`,
};

const EXISTING = {
  name: "retention-existing",
  text: "SELECT job_id FROM jobs WHERE job_id = ANY($1::uuid[])",
};

const TASKS_OF = {
  name: "retention-tasks-of",
  text: "SELECT task_id FROM tasks WHERE job_id = ANY($1::uuid[])",
};

/** Everything that is found by a task's id; the tasks themselves last. Events and chunks go by the day. */
const OF_TASKS = [
  ["edges", "child_id"],
  ["map_items", "task_id"],
  ["output_refs", "task_id"],
  ["dead_letters", "task_id"],
  ["task_closings", "task_id"],
  ["past_attempts", "task_id"],
  ["task_states", "task_id"],
  ["tasks", "task_id"],
].map(([table, key]) => ({
  name: `retention-delete-${table}`,
  text: `DELETE FROM ${table} WHERE ${key} = ANY($1::uuid[])`,
}));

const DELETE_JOBS = {
  name: "retention-delete-jobs",
  text: "DELETE FROM jobs WHERE job_id = ANY($1::uuid[])",
};

/** Removes ended jobs, but those on which a job depends that is still there: a later generation, or one that was made of a dead letter.
 * Returns how much was removed.
 *
 * Cost: 14 statements, whatever the number of jobs; nothing is left half removed, as it is one transaction. */
export async function removeJobs(
  tx: Transaction,
  jobIds: readonly string[],
): Promise<{ jobs: number; tasks: number }> {
  const held = await idsOf(tx, HOLD, jobIds.map(jobUuid));
  // Both see what was committed while the locks were waited for.
  const letters = await tx.query<{ job_id: string; redriven_job_id: string | null }>(HOLD_LETTERS, [
    uuidArray(held),
  ]);
  const made = letters.rows.flatMap((row) => row.redriven_job_id ?? []);
  const [continued, existing] = await together(
    idsOf(tx, CONTINUED, held),
    idsOf(tx, EXISTING, made.map(plain)),
  );
  const needed = new Set(continued);
  const live = new Set(existing);
  for (const { job_id, redriven_job_id } of letters.rows) {
    if (redriven_job_id !== null && live.has(plain(redriven_job_id))) needed.add(plain(job_id));
  }
  const jobs = held.filter((id) => !needed.has(id));
  if (jobs.length === 0) return { jobs: 0, tasks: 0 };
  const { rows } = await tx.query<{ task_id: string }>(TASKS_OF, [uuidArray(jobs)]);
  const tasks = uuidArray(rows.map((row) => plain(row.task_id)));
  await tx.commitWith(
    ...OF_TASKS.map((statement) => tx.query(statement, [tasks])),
    tx.query(DELETE_JOBS, [uuidArray(jobs)]),
  );
  return { jobs: jobs.length, tasks: rows.length };
}

/** Asks a statement that takes ids of jobs, and returns those of them that it finds. */
async function idsOf(
  client: Queryable,
  statement: { readonly name: string; readonly text: string },
  ids: readonly string[],
): Promise<string[]> {
  if (ids.length === 0) return [];
  const { rows } = await client.query<{ job_id: string }>(statement, [uuidArray(ids)]);
  return rows.map((row) => plain(row.job_id));
}

/** A uuid without dashes, as public ids have it. */
function plain(uuid: string): string {
  return uuid.replaceAll("-", "");
}
