/** The claim: turns waiting tasks into leased ones, all or nothing. */
import { int8Array, jsonArray, type Queryable, textArray, uuidArray } from "@nexus/postgres";
import { NexusError } from "@nexus/shared";
import type { Claim } from "../domain/live-task.ts";
import { writeDecision } from "./decision-row.ts";
import { taskUuid } from "./row-ids.ts";

/** As in settle, each step returns all that the next one needs, so that no two intermediate results are joined. */
const CLAIM = {
  name: "claim",
  text: `
    WITH wanted AS (
      SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::json[], $6::bigint[]) WITH ORDINALITY
        AS w(task_id, agent_id, agent_epoch, capability_version, decision, start_to_close_ms, position)
    ), moved AS (
      DELETE FROM ready r USING wanted w WHERE r.task_id = w.task_id
      RETURNING w.*
    ), leased AS (
      UPDATE task_states s
         SET state = 'LEASED', attempts = s.attempts + 1, fence = nextval('fence_seq'), agent_id = m.agent_id,
             agent_epoch = m.agent_epoch, capability_version = m.capability_version, decision = m.decision,
             leased_at = now(), deadline_at = now() + m.start_to_close_ms * interval '1 millisecond', started_at = NULL,
             failure_reason = NULL, failure_message = NULL, failure_task_key = NULL
        FROM moved m
       WHERE s.task_id = m.task_id AND s.state = 'READY'
      RETURNING m.position, s.fence, s.attempts
    )
    SELECT (SELECT count(*)::int FROM moved) AS moved, (extract(epoch FROM now()) * 1000)::float8 AS now_ms,
           (SELECT json_agg(json_build_array(position, fence::text, attempts)) FROM leased) AS granted`,
};

/** All in one row: the driver takes longer for a row than JSON does for a list. */
interface ClaimRow {
  readonly moved: number;
  readonly now_ms: number;
  /** Each with its position among the claims asked for, from 1, its fence and its attempt; null when nothing was granted. */
  readonly granted: readonly [position: number, fence: string, attempt: number][] | null;
}

/** A lease as the database granted it. */
export interface GrantedLease {
  readonly fence: bigint;
  readonly attempt: number;
  readonly leasedAtMs: number;
}

/** Leases tasks (each once) to agents; returns what was granted by task id. A task that no longer waits is absent.
 *
 * One statement takes the ready rows and counts the leases, so a task can be neither lost between the two nor leased twice.
 * Errors: internal/INTERNAL when a ready row had no task to go with it; nothing is stored then. */
export async function claimTasks(
  client: Queryable,
  claims: readonly Claim[],
): Promise<Map<string, GrantedLease>> {
  if (claims.length === 0) return new Map();
  const { rows } = await client.query<ClaimRow>(CLAIM, [
    uuidArray(claims.map((claim) => taskUuid(claim.task.taskId))),
    textArray(claims.map((claim) => claim.agentId)),
    int8Array(claims.map((claim) => claim.agentEpoch)),
    textArray(claims.map((claim) => claim.capabilityVersion)),
    jsonArray(claims.map((claim) => writeDecision(claim.decision))),
    int8Array(claims.map((claim) => claim.task.spec.startToCloseMs)),
  ]);
  const granted = new Map<string, GrantedLease>();
  const { moved, now_ms: leasedAtMs, granted: found } = rows[0] as ClaimRow;
  for (const [position, fence, attempt] of found ?? []) {
    const { taskId } = (claims[position - 1] as Claim).task;
    granted.set(taskId, { fence: BigInt(fence), attempt, leasedAtMs });
  }
  if (moved !== granted.size) {
    throw new NexusError({
      kind: "internal",
      reason: "INTERNAL",
      message: `A batch should have leased ${moved} tasks that waited, but leased ${granted.size}.`,
    });
  }
  return granted;
}
