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
    SELECT c.moved, c.now_ms, l.position::int, l.fence, l.attempts AS attempt
      FROM (SELECT count(*)::int AS moved, (extract(epoch FROM now()) * 1000)::float8 AS now_ms FROM moved) c
      LEFT JOIN leased l ON true`,
};

interface ClaimRow {
  readonly moved: number;
  readonly now_ms: number;
  /** Of the claim among those asked for, from 1; null when nothing was granted. */
  readonly position: number | null;
  readonly fence: string;
  readonly attempt: number;
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
  for (const row of rows) {
    if (row.position === null) continue;
    granted.set((claims[row.position - 1] as Claim).task.taskId, {
      fence: BigInt(row.fence),
      attempt: row.attempt,
      leasedAtMs: row.now_ms,
    });
  }
  const moved = rows[0]?.moved ?? 0;
  if (moved !== granted.size) {
    throw new NexusError({
      kind: "internal",
      reason: "INTERNAL",
      message: `A batch should have leased ${moved} tasks that waited, but leased ${granted.size}.`,
    });
  }
  return granted;
}
