/** The claim: moves tasks from ready to leases, all or nothing. */
import { int8Array, jsonArray, type Queryable, textArray, uuidArray } from "@nexus/postgres";
import type { Claim } from "../domain/live-task.ts";
import { assertMoved } from "./job-progress-store.ts";
import { taskUuid, toTaskId } from "./row-ids.ts";

/** As in settle, each step returns all that the next one needs, so that no two intermediate results are joined. */
const CLAIM = {
  name: "claim",
  text: `
    WITH wanted AS (
      SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::json[], $7::bigint[])
        AS w(task_id, namespace, agent_id, agent_epoch, capability_version, decision, start_to_close_ms)
    ), moved AS (
      DELETE FROM ready r USING wanted w WHERE r.task_id = w.task_id
      RETURNING r.task_id, r.shard, r.ready_at AS was_ready_at, w.namespace, w.agent_id AS to_agent_id,
                w.agent_epoch, w.capability_version, w.decision, w.start_to_close_ms
    ), begun AS (
      UPDATE task_states s
         SET state = 'LEASED', attempts = s.attempts + 1, fence = nextval('fence_seq'), agent_id = m.to_agent_id,
             leased_at = now(), started_at = NULL,
             failure_reason = NULL, failure_message = NULL, failure_task_key = NULL
        FROM moved m
       WHERE s.task_id = m.task_id AND s.state = 'READY'
      RETURNING m.*, s.job_id, s.fence, s.attempts
    ), leased AS (
      INSERT INTO leases (task_id, shard, job_id, fence, namespace, agent_id, agent_epoch, attempt,
                          capability_version, ready_at, leased_at, deadline_at, decision)
      SELECT task_id, shard, job_id, fence, namespace, to_agent_id, agent_epoch, attempts, capability_version,
             was_ready_at, now(), now() + start_to_close_ms * interval '1 millisecond', decision
        FROM begun
      RETURNING task_id, fence, attempt
    )
    SELECT c.moved, c.now_ms, l.task_id, l.fence, l.attempt
      FROM (SELECT count(*)::int AS moved, (extract(epoch FROM now()) * 1000)::float8 AS now_ms FROM moved) c
      LEFT JOIN leased l ON true`,
};

interface ClaimRow {
  readonly moved: number;
  readonly now_ms: number;
  readonly task_id: string | null;
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
 * One statement moves the rows and counts them, so a task can be neither lost between two tables nor leased twice.
 * Errors: internal/INTERNAL when a ready row had no task to go with it; nothing is stored then. */
export async function claimTasks(
  client: Queryable,
  claims: readonly Claim[],
): Promise<Map<string, GrantedLease>> {
  if (claims.length === 0) return new Map();
  const { rows } = await client.query<ClaimRow>(CLAIM, [
    uuidArray(claims.map((claim) => taskUuid(claim.task.taskId))),
    textArray(claims.map((claim) => claim.task.namespace)),
    textArray(claims.map((claim) => claim.agentId)),
    int8Array(claims.map((claim) => claim.agentEpoch)),
    textArray(claims.map((claim) => claim.capabilityVersion)),
    jsonArray(claims.map((claim) => JSON.stringify(claim.decision))),
    int8Array(claims.map((claim) => claim.task.spec.startToCloseMs)),
  ]);
  const granted = new Map<string, GrantedLease>();
  for (const row of rows) {
    if (row.task_id === null) continue;
    granted.set(toTaskId(row.task_id), {
      fence: BigInt(row.fence),
      attempt: row.attempt,
      leasedAtMs: row.now_ms,
    });
  }
  assertMoved("ready tasks to leases", rows[0]?.moved ?? 0, granted.size);
  return granted;
}
