/** Inserts the jobs of one flush. */
import { int2Array, int4Array, type Queryable, textArray, uuidArray } from "@nexus/postgres";
import type { JobSubmission } from "../domain/job.ts";
import type { JobProgress } from "../domain/job-state.ts";
import { shardOf } from "../domain/shards.ts";
import { jobUuid, toJobId } from "./row-ids.ts";

/** A job about to be inserted. */
export interface NewJob {
  readonly jobId: string;
  readonly submission: JobSubmission;
  /** How it begins: PENDING with none of its tasks leased, or with some that are. */
  readonly progress: JobProgress;
}

const INSERT = {
  name: "jobs-insert",
  text: `
    INSERT INTO jobs (job_id, shard, namespace, principal_id, objective, priority, labels, traceparent, state,
                      total, blocked, ready, active, started_at)
    SELECT job_id, shard, namespace, principal_id, objective, priority, labels, traceparent, state,
           total, blocked, ready, active, CASE WHEN active > 0 THEN now() END
      FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::smallint[], $6::jsonb[], $7::text[],
                  $8::int[], $9::int[], $10::smallint[], $11::int[], $12::int[], $13::job_state[])
           AS i(job_id, namespace, principal_id, objective, priority, labels, traceparent, total, blocked, shard,
                ready, active, state)
    RETURNING job_id, created_at`,
};

/** Inserts jobs; returns when each was committed, by id. */
export async function insertJobs(
  client: Queryable,
  jobs: readonly NewJob[],
): Promise<Map<string, Date>> {
  if (jobs.length === 0) return new Map();
  const { rows } = await client.query<{ job_id: string; created_at: Date }>(INSERT, [
    uuidArray(jobs.map((job) => jobUuid(job.jobId))),
    textArray(jobs.map((job) => job.submission.namespace)),
    textArray(jobs.map((job) => job.submission.principalId)),
    textArray(jobs.map((job) => job.submission.objective)),
    int2Array(jobs.map((job) => job.submission.priority)),
    jobs.map((job) => JSON.stringify(job.submission.labels)),
    textArray(jobs.map((job) => job.submission.traceparent)),
    int4Array(jobs.map(({ progress }) => progress.counts.total)),
    int4Array(jobs.map(({ progress }) => progress.counts.blocked)),
    int2Array(jobs.map((job) => shardOf(job.jobId))),
    int4Array(jobs.map(({ progress }) => progress.counts.ready)),
    int4Array(jobs.map(({ progress }) => progress.counts.active)),
    jobs.map(({ progress }) => progress.state),
  ]);
  return new Map(rows.map((row) => [toJobId(row.job_id), row.created_at]));
}
