/** The end of leases: history, outputs and retries, in one statement guarded by the fence. */
import {
  boolArray,
  byteaArray,
  int8Array,
  type Queryable,
  textArray,
  uuidArray,
} from "@nexus/postgres";
import type { Settlement } from "../domain/settlement.ts";
import { statesThatAllow, type TaskState } from "../domain/task-state.ts";
import { assertMoved } from "./job-progress-store.ts";
import { taskUuid, toTaskId } from "./row-ids.ts";

/** Each step returns all that the next ones need, so that none joins two intermediate results: Postgres knows nothing
 * of their sizes and would compare every row of one with every row of the other. */
const SETTLE = {
  name: "settle",
  text: `
    WITH input AS (
      SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::task_state[], $4::text[], $5::text[], $6::bool[], $7::text[],
                           $8::text[], $9::bigint[], $10::bigint[], $11::bigint[], $12::text[], $13::bytea[], $14::bigint[])
        AS i(task_id, fence, to_state, outcome, word, charged, reason, message, started_ago_ms, delay_ms, wait_ms,
             content_type, output, stored_bytes)
    ), ended AS (
      DELETE FROM leases l USING input i WHERE l.task_id = i.task_id AND l.fence = i.fence
      RETURNING l.task_id, l.shard, l.job_id, l.fence, l.namespace, l.agent_id, l.agent_epoch, l.attempt,
                l.leased_at, l.decision, i.to_state, i.outcome, i.word, i.charged AS costs, i.reason, i.message,
                i.started_ago_ms, i.delay_ms, i.wait_ms, i.content_type, i.output, i.stored_bytes
    ), moved AS (
      UPDATE task_states s
         SET state = e.to_state, charged = s.charged + e.costs::int, fence = 0,
             started_at = coalesce(s.started_at, now() - e.started_ago_ms * interval '1 millisecond'),
             ready_at = CASE WHEN e.to_state = 'READY' THEN now() + e.delay_ms * interval '1 millisecond'
                             ELSE s.ready_at END,
             ended_at = CASE WHEN e.to_state <> 'READY' THEN now() END,
             failure_reason = e.reason, failure_message = e.message, failure_task_key = NULL,
             output_type = e.content_type, output = e.output, output_stored_bytes = e.stored_bytes
        FROM ended e
       WHERE s.task_id = e.task_id AND s.fence = e.fence AND s.state = ANY($15::task_state[])
      RETURNING s.task_id, s.started_at, s.ready_at, e.shard, e.fence, e.agent_id, e.agent_epoch, e.attempt, e.leased_at,
                e.decision, e.to_state, e.outcome, e.word, e.costs, e.reason, e.message, e.wait_ms
    ), history AS (
      INSERT INTO attempts (task_id, attempt, fence, agent_id, agent_epoch, leased_at, started_at, ended_at, outcome,
                            word, charged, failure_reason, failure_message, decision)
      SELECT task_id, attempt, fence, agent_id, agent_epoch, leased_at, started_at, now(), outcome,
             word, costs, reason, message, decision
        FROM moved
    ), again AS (
      INSERT INTO ready (task_id, shard, ready_at, start_by)
      SELECT task_id, shard, ready_at, ready_at + wait_ms * interval '1 millisecond'
        FROM moved WHERE to_state = 'READY'
    )
    SELECT c.ended, m.task_id, date_part('epoch', m.ready_at) * 1000 AS ready_at_ms,
           date_part('epoch', m.started_at) * 1000 AS started_at_ms, date_part('epoch', now()) * 1000 AS ended_at_ms
      FROM (SELECT count(*)::int AS ended FROM ended) c LEFT JOIN moved m ON true`,
};
const ENDING_STATES = statesThatAllow("SUCCEED");

/** One lease to end. */
export interface LeaseEnd {
  readonly taskId: string;
  readonly fence: bigint;
  readonly settlement: Settlement;
  readonly scheduleToStartMs: number;
  /** How long ago the agent said that it began, when that is not stored yet. */
  readonly startedAgoMs: number | undefined;
}

const TO_STATE: Readonly<Record<Settlement["event"], TaskState>> = {
  SUCCEED: "SUCCEEDED",
  REQUEUE: "READY",
  FAIL: "FAILED",
};

/** The state a settlement leads to. */
export function stateAfter(settlement: Settlement): TaskState {
  return TO_STATE[settlement.event];
}

interface SettleRow {
  readonly ended: number;
  readonly task_id: string | null;
  readonly ready_at_ms: number | null;
  readonly started_at_ms: number | null;
  readonly ended_at_ms: number;
}

/** A lease that was ended; epoch milliseconds by database time. */
export interface SettledLease {
  /** When the task is ready again, or was. */
  readonly readyAtMs: number;
  /** Undefined when the agent never said that it began. */
  readonly startedAtMs: number | undefined;
  readonly endedAtMs: number;
}

/** Ends leases (each task once). Returns what was ended, by task id; a lease that was over already is absent and nothing
 * of it changed.
 *
 * Errors: internal/INTERNAL when a lease had no running task to go with it; nothing is stored then. */
export async function settleLeases(
  client: Queryable,
  ends: readonly LeaseEnd[],
): Promise<Map<string, SettledLease>> {
  if (ends.length === 0) return new Map();
  const outputs = ends.map(({ settlement }) => settlement.output);
  const { rows } = await client.query<SettleRow>(SETTLE, [
    uuidArray(ends.map((end) => taskUuid(end.taskId))),
    int8Array(ends.map((end) => end.fence)),
    ends.map((end) => stateAfter(end.settlement)),
    textArray(ends.map((end) => end.settlement.outcome)),
    textArray(ends.map((end) => end.settlement.word)),
    boolArray(ends.map((end) => end.settlement.charged)),
    textArray(ends.map((end) => end.settlement.failure?.reason ?? null)),
    textArray(ends.map((end) => end.settlement.failure?.message ?? null)),
    int8Array(ends.map(startedAgo)),
    int8Array(ends.map((end) => Math.round(end.settlement.delayMs))),
    int8Array(ends.map((end) => end.scheduleToStartMs)),
    textArray(outputs.map((output) => output?.contentType ?? null)),
    byteaArray(outputs.map((output) => output?.data ?? null)),
    int8Array(outputs.map((output) => output?.storedBytes ?? null)),
    ENDING_STATES,
  ]);
  const settled = new Map<string, SettledLease>();
  for (const row of rows) {
    if (row.task_id === null) continue;
    settled.set(toTaskId(row.task_id), {
      readyAtMs: row.ready_at_ms ?? 0,
      startedAtMs: row.started_at_ms ?? undefined,
      endedAtMs: row.ended_at_ms,
    });
  }
  assertMoved("leases to their tasks", rows[0]?.ended ?? 0, settled.size);
  return settled;
}

function startedAgo({ startedAgoMs }: LeaseEnd): number | null {
  return startedAgoMs === undefined ? null : Math.round(startedAgoMs);
}

const FIND_WORDS = {
  name: "settle-find-words",
  text: `
    SELECT a.task_id, a.fence, t.namespace, a.agent_id, a.word
      FROM unnest($1::uuid[], $2::bigint[]) AS i(task_id, fence)
      JOIN attempts a ON a.task_id = i.task_id AND a.fence = i.fence
      JOIN tasks t ON t.task_id = i.task_id`,
};

/** Whose lease it was, and the agent's word that ended it, if one did. */
export interface EndedLease {
  readonly namespace: string;
  readonly agentId: string;
  readonly word: string;
}

/** Reads by which word each of these ended leases was ended, and whose it was; by `<task id>:<fence>`. */
export async function findEndedLeases(
  client: Queryable,
  leases: readonly { readonly taskId: string; readonly fence: bigint }[],
): Promise<Map<string, EndedLease>> {
  if (leases.length === 0) return new Map();
  const { rows } = await client.query<{
    task_id: string;
    fence: string;
    namespace: string;
    agent_id: string;
    word: string;
  }>(FIND_WORDS, [
    leases.map((lease) => taskUuid(lease.taskId)),
    leases.map((lease) => lease.fence.toString()),
  ]);
  return new Map(
    rows.map((row) => [
      `${toTaskId(row.task_id)}:${row.fence}`,
      { namespace: row.namespace, agentId: row.agent_id, word: row.word },
    ]),
  );
}
