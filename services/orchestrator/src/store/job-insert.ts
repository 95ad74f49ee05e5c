/** Inserts the jobs of one flush. */
import { int2Array, int4Array, type Queryable, textArray, uuidArray } from "@nexus/postgres";
import type { JobSubmission } from "../domain/job.ts";
import { shardOf } from "../domain/shards.ts";
import { jobUuid, toJobId } from "./row-ids.ts";

/** A job about to be inserted. */
export interface NewJob {
  readonly jobId: string;
  readonly submission: JobSubmission;
  readonly total: number;
  readonly blocked: number;
}

const INSERT = {
  name: "jobs-insert",
  text: `
    INSERT INTO jobs (job_id, shard, namespace, principal_id, objective, priority, labels, traceparent, state,
                      total, blocked, ready)
    SELECT job_id, shard, namespace, principal_id, objective, priority, labels, traceparent, 'PENDING',
           total, blocked, total - blocked
      FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::smallint[], $6::jsonb[], $7::text[],
                  $8::int[], $9::int[], $10::smallint[])
           AS i(job_id, namespace, principal_id, objective, priority, labels, traceparent, total, blocked, shard)
    RETURNING job_id, created_at`,
};

/** Inserts jobs; returns when each was committed, by id. */
export async function insertJobs(
  client: Queryable,
  jobs: readonly NewJob[],
): Promise<Map<string, Date>> {
  const { rows } = await client.query<{ job_id: string; created_at: Date }>(INSERT, [
    uuidArray(jobs.map((job) => jobUuid(job.jobId))),
    textArray(jobs.map((job) => job.submission.namespace)),
    textArray(jobs.map((job) => job.submission.principalId)),
    textArray(jobs.map((job) => job.submission.objective)),
    int2Array(jobs.map((job) => job.submission.priority)),
    jobs.map((job) => JSON.stringify(job.submission.labels)),
    textArray(jobs.map((job) => job.submission.traceparent)),
    int4Array(jobs.map((job) => job.total)),
    int4Array(jobs.map((job) => job.blocked)),
    int2Array(jobs.map((job) => shardOf(job.jobId))),
  ]);
  return new Map(rows.map((row) => [toJobId(row.job_id), row.created_at]));
}
