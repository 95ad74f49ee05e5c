/** The claim: turns waiting tasks into leased ones. */
import { int8Array, jsonArray, type Queryable, textArray, uuidArray } from "@nexus/postgres";
import type { Claim } from "../domain/live-task.ts";
import { writeDecision } from "./decision-row.ts";
import { jobUuid, taskUuid, toTaskId } from "./row-ids.ts";

/** A task that waits since it was made gets its state row here, one that waits again has it. Which it is, the key decides: nobody can
 * lease a task twice, and what a cancel, a pause or an expiry writes at the same moment is waited for and then respected. That the task
 * exists is not looked up, which took a fifth of the statement: its job is, and the number of its READY tasks (stepJobs). */
const CLAIM = {
  name: "claim",
  text: `
    WITH granted AS (
      INSERT INTO task_states AS s (task_id, job_id, state, pending, attempts, fence, agent_id, agent_epoch,
                                    capability_version, ready_at, leased_at, deadline_at, decision)
      SELECT task_id, job_id, 'LEASED', 0, 1, nextval('fence_seq'), agent_id, agent_epoch, capability_version,
             'epoch'::timestamptz + ready_ms * interval '1 millisecond', now(),
             now() + start_to_close_ms * interval '1 millisecond', decision
        FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::json[], $7::bigint[], $8::bigint[])
          AS w(task_id, job_id, agent_id, agent_epoch, capability_version, decision, start_to_close_ms, ready_ms)
          ON CONFLICT ON CONSTRAINT task_states_pkey DO UPDATE
         SET state = 'LEASED', attempts = s.attempts + 1, fence = EXCLUDED.fence, agent_id = EXCLUDED.agent_id,
             agent_epoch = EXCLUDED.agent_epoch, capability_version = EXCLUDED.capability_version,
             decision = EXCLUDED.decision, leased_at = EXCLUDED.leased_at, deadline_at = EXCLUDED.deadline_at,
             started_at = NULL, wait_ms = NULL, failure_reason = NULL, failure_message = NULL, failure_task_key = NULL
       WHERE s.state = 'READY' AND s.withheld_delay_ms IS NULL
      RETURNING s.task_id, s.fence, s.attempts
    )
    SELECT (extract(epoch FROM now()) * 1000)::float8 AS now_ms,
           json_agg(json_build_array(task_id, fence::text, attempts)) AS granted
      FROM granted`,
};

/** All in one row: the driver takes longer for a row than JSON does for a list. */
interface ClaimRow {
  readonly now_ms: number;
  /** Each with its fence and its attempt; null when nothing was granted. */
  readonly granted: readonly [taskId: string, fence: string, attempt: number][] | null;
}

/** A lease as the database granted it. */
export interface GrantedLease {
  readonly fence: bigint;
  readonly attempt: number;
  readonly leasedAtMs: number;
}

/** Leases tasks (each once) to agents; returns what was granted by task id. A task that no longer waits is absent.
 *
 * Cost: 1 statement; 1 row a task. */
export async function claimTasks(
  client: Queryable,
  claims: readonly Claim[],
): Promise<Map<string, GrantedLease>> {
  if (claims.length === 0) return new Map();
  const { rows } = await client.query<ClaimRow>(CLAIM, [
    uuidArray(claims.map((claim) => taskUuid(claim.task.taskId))),
    uuidArray(claims.map((claim) => jobUuid(claim.task.jobId))),
    textArray(claims.map((claim) => claim.agentId)),
    int8Array(claims.map((claim) => claim.agentEpoch)),
    textArray(claims.map((claim) => claim.capabilityVersion)),
    jsonArray(claims.map((claim) => writeDecision(claim.decision))),
    int8Array(claims.map((claim) => claim.task.spec.startToCloseMs)),
    int8Array(claims.map((claim) => Math.floor(claim.task.readyAtMs))),
  ]);
  const { now_ms: leasedAtMs, granted } = rows[0] as ClaimRow;
  return new Map(
    granted?.map(([task, fence, attempt]) => [
      toTaskId(task),
      { fence: BigInt(fence), attempt, leasedAtMs },
    ]),
  );
}
