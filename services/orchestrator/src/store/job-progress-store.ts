/** Moves the counters and the state of jobs, once per job and batch. */

import { boolArray, int4Array, type Queryable, textArray, uuidArray } from "@nexus/postgres";
import { NexusError } from "@nexus/shared";
import type { JobChange } from "../domain/job-event.ts";
import {
  applyJobDelta,
  isTerminalJobState,
  JOB_STATES,
  type JobDelta,
  type JobProgress,
  type JobState,
} from "../domain/job-state.ts";
import { type FailureColumns, toFailureOrNone } from "./failure-columns.ts";
import { REFUSALS } from "./refusals.ts";
import { jobUuid, toJobId } from "./row-ids.ts";
import { findTolerated } from "./verdict-store.ts";

const READ = {
  name: "job-progress-read",
  text: `
    SELECT job_id, namespace, state, total, blocked, ready, active, succeeded, failed, cancelled, skipped,
           failure_reason, failure_message, failure_task_key
      FROM jobs WHERE job_id = ANY($1::uuid[]) ORDER BY job_id FOR NO KEY UPDATE`,
};

const WRITE = {
  name: "job-progress-write",
  text: `
    WITH moved AS (
      UPDATE jobs j
         SET state = d.state, total = d.total, blocked = d.blocked, ready = d.ready, active = d.active,
             succeeded = d.succeeded, failed = d.failed, cancelled = d.cancelled, skipped = d.skipped,
             failure_reason = d.reason, failure_message = d.message, failure_task_key = d.task_key,
             started_at = coalesce(j.started_at, CASE WHEN d.started THEN now() END),
             ended_at = CASE WHEN d.ended THEN now() END
        FROM unnest($1::uuid[], $2::job_state[], $3::int[], $4::int[], $5::int[], $6::int[], $7::int[], $8::int[],
                    $9::int[], $10::int[], $11::text[], $12::text[], $13::text[], $14::bool[], $15::bool[])
             AS d(job_id, state, total, blocked, ready, active, succeeded, failed, cancelled, skipped,
                  reason, message, task_key, started, ended)
       WHERE j.job_id = d.job_id AND j.state = ANY($16::job_state[])
      RETURNING 1
    )
    SELECT refuse_unless(count(*) = $17::int, '${REFUSALS.miscounted}') FROM moved`,
};
/** By state and not by ended_at: that is the condition of the index of open jobs, which would be read from end to end. */
const OPEN_STATES = JOB_STATES.filter((state) => !isTerminalJobState(state));

interface ProgressRow extends FailureColumns {
  readonly job_id: string;
  readonly namespace: string;
  readonly state: JobState;
  readonly total: number;
  readonly blocked: number;
  readonly ready: number;
  readonly active: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly cancelled: number;
  readonly skipped: number;
}

function toProgress(row: ProgressRow): JobProgress {
  const { total, blocked, ready, active, succeeded, failed, cancelled, skipped } = row;
  return {
    state: row.state,
    counts: { total, blocked, ready, active, succeeded, failed, cancelled, skipped },
    failure: toFailureOrNone(row),
  };
}

/** One job before and after a batch. */
interface Step {
  readonly jobId: string;
  readonly before: JobProgress;
  readonly after: JobProgress;
  readonly leased: boolean;
  readonly delta: JobDelta;
}

/** Jobs as they stood when they were read, held until the transaction ends. */
export type HeldJobs = ReadonlyMap<string, ProgressRow>;

/** Reads and holds jobs. May be begun before it is known what becomes of them: only their holder changes them.
 *
 * Cost: 1 statement, none for no jobs. */
export async function holdJobs(client: Queryable, jobIds: ReadonlySet<string>): Promise<HeldJobs> {
  if (jobIds.size === 0) return new Map();
  const ids = [...jobIds];
  const { rows } = await client.query<ProgressRow>(READ, [uuidArray(ids.map(jobUuid))]);
  return new Map(rows.map((row) => [toJobId(row.job_id), row]));
}

/** What becomes of the jobs of a batch. */
export interface JobsMoved {
  /** State changes. */
  readonly changes: readonly JobChange[];
  /** The namespace of each job of the batch. */
  readonly namespaces: ReadonlyMap<string, string>;
  /** Stores it, or has the database end the transaction when the number of jobs is another than it should be: the conservation of
   * tasks. Cost: 1 statement, one row version per job. */
  readonly write: () => Promise<void>;
}

/** Says what a batch does to its jobs. `held` may have been read before; a job that is missing there is read now.
 *
 * A job that is terminal already is left alone: terminal states never change.
 * Errors: internal/INTERNAL when one is not stored.
 * Cost: none, or 1 statement for jobs not held yet; 1 when a job ends in which some tasks failed and some did not. */
export async function stepJobs(
  client: Queryable,
  deltas: ReadonlyMap<string, JobDelta>,
  held: HeldJobs = new Map(),
): Promise<JobsMoved> {
  const missing = new Set<string>();
  for (const jobId of deltas.keys()) if (!held.has(jobId)) missing.add(jobId);
  const read = await holdJobs(client, missing);
  const rows = [...deltas.keys()].map((jobId) => {
    const row = held.get(jobId) ?? read.get(jobId);
    if (row !== undefined) return row;
    const message = "A batch moved tasks of a job that is not stored.";
    throw new NexusError({ kind: "internal", reason: "INTERNAL", message });
  });
  const steps: Step[] = [];
  for (const row of rows) {
    const jobId = toJobId(row.job_id);
    const delta = deltas.get(jobId) as JobDelta;
    const before = toProgress(row);
    if (isTerminalJobState(before.state)) continue;
    const leased = delta.events.some((e) => e === "TASK_LEASED" || e === "PLANNER_LEASED");
    steps.push({ jobId, before, after: applyJobDelta(before, delta), leased, delta });
  }
  const judged = await judge(client, steps);
  const changes = judged.flatMap(({ jobId, before, after }): JobChange[] => {
    if (after.state === before.state) return [];
    const failure = isTerminalJobState(after.state) ? after.failure : undefined;
    return [{ kind: "job", jobId, state: after.state, failure }];
  });
  const namespaces = new Map(rows.map((row) => [toJobId(row.job_id), row.namespace]));
  return { changes, namespaces, write: () => writeSteps(client, judged) };
}

/** A job whose failures are all tolerated ends PARTIAL instead. */
async function judge(client: Queryable, steps: readonly Step[]): Promise<readonly Step[]> {
  const mixed = steps.filter(({ after }) => after.state === "FAILED" && after.counts.succeeded > 0);
  const tolerated = await findTolerated(
    client,
    mixed.map((step) => step.jobId),
  );
  if (tolerated.size === 0) return steps;
  return steps.map((step) =>
    tolerated.has(step.jobId)
      ? { ...step, after: applyJobDelta(step.before, step.delta, true) }
      : step,
  );
}

async function writeSteps(client: Queryable, steps: readonly Step[]): Promise<void> {
  if (steps.length === 0) return;
  const count = (name: keyof JobProgress["counts"]) =>
    int4Array(steps.map(({ after }) => after.counts[name]));
  await client.query(WRITE, [
    uuidArray(steps.map(({ jobId }) => jobUuid(jobId))),
    steps.map(({ after }) => after.state),
    count("total"),
    count("blocked"),
    count("ready"),
    count("active"),
    count("succeeded"),
    count("failed"),
    count("cancelled"),
    count("skipped"),
    textArray(steps.map(({ after }) => after.failure?.reason ?? null)),
    textArray(steps.map(({ after }) => after.failure?.message ?? null)),
    textArray(steps.map(({ after }) => after.failure?.taskKey ?? null)),
    boolArray(steps.map(({ leased }) => leased)),
    boolArray(steps.map(({ after }) => isTerminalJobState(after.state))),
    OPEN_STATES,
    steps.length,
  ]);
}
