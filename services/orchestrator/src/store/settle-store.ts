/** The end of leases: history, outputs and retries, guarded by the fence. */
import {
  boolArray,
  byteaArray,
  int8Array,
  type Queryable,
  textArray,
  together,
  uuidArray,
} from "@nexus/postgres";
import type { Settlement } from "../domain/settlement.ts";
import { statesThatAllow, type TaskState } from "../domain/task-state.ts";
import { arrayRows, POSITION } from "./array-rows.ts";
import { taskUuid, toTaskId } from "./row-ids.ts";
import { inOrder } from "./two-parts.ts";

/** What `columnsOfSuccesses` gives. */
const SUCCESSES = {
  task_id: "uuid",
  fence: "bigint",
  started_ago_ms: "bigint",
  content_type: "text",
  output: "bytea",
  stored_bytes: "bigint",
};
/** What `columnsOfOthers` gives. */
const OTHERS = {
  task_id: "uuid",
  fence: "bigint",
  started_ago_ms: "bigint",
  to_state: "task_state",
  outcome: "text",
  word: "text",
  costs: "bool",
  loss: "bool",
  crowded: "bool",
  reason: "text",
  message: "text",
  delay_ms: "bigint",
};

/** How a task that succeeds changes: there is no more to say of it than what it put out and when it began. A batch is mostly these, and each
 * column costs both sides. Who says when it began is not told that again. */
const SUCCEED = {
  name: "succeed",
  text: `
    WITH moved AS (
      UPDATE task_states s
         SET state = 'SUCCEEDED', charged = s.charged + 1, fence = 0, last_fence = i.fence,
             started_at = coalesce(s.started_at, now() - i.started_ago_ms * interval '1 millisecond'), ended_at = now(),
             outcome = 'SUCCEEDED', word = 'COMPLETED', last_charged = true,
             failure_reason = NULL, failure_message = NULL, failure_task_key = NULL,
             output_type = i.content_type, output = i.output, output_stored_bytes = i.stored_bytes
        FROM (SELECT ${arrayRows(SUCCESSES)}, ${POSITION}) i
       WHERE s.task_id = i.task_id AND s.fence = i.fence AND s.state = ANY($7::task_state[])
      RETURNING i.position, CASE WHEN i.started_ago_ms IS NULL THEN s.started_at END AS started_at
    )
    SELECT date_part('epoch', now()) * 1000 AS ended_at_ms, string_agg(position::text, ',') AS positions,
           string_agg(coalesce((date_part('epoch', started_at) * 1000)::bigint::text, ''), ',') AS started_at_ms
      FROM moved`,
};

/** Any other end. An attempt that is followed by another becomes history; one with which its task ends stays in the task's row. Each step
 * returns all that the next ones need, so that none joins two intermediate results: Postgres knows nothing of their sizes and would
 * compare every row of one with every row of the other. */
const SETTLE = {
  name: "settle",
  text: `
    WITH moved AS (
      UPDATE task_states s
         SET losses = s.losses + i.loss::int, crowded = s.crowded + i.crowded::int,
             state = i.to_state, charged = s.charged + i.costs::int, fence = 0, last_fence = i.fence,
             started_at = coalesce(s.started_at, now() - i.started_ago_ms * interval '1 millisecond'),
             ready_at = CASE WHEN i.to_state = 'READY' THEN now() + i.delay_ms * interval '1 millisecond'
                             ELSE s.ready_at END,
             ended_at = CASE WHEN i.to_state <> 'READY' THEN now() END,
             outcome = CASE WHEN i.to_state <> 'READY' THEN i.outcome END, word = i.word, last_charged = i.costs,
             failure_reason = i.reason, failure_message = i.message, failure_task_key = NULL
        FROM (SELECT ${arrayRows(OTHERS)}, ${POSITION}) i
       WHERE s.task_id = i.task_id AND s.fence = i.fence AND s.state = ANY($13::task_state[])
      RETURNING s.task_id, s.job_id, s.state, s.attempts, s.agent_id, s.agent_epoch, s.leased_at, s.started_at, s.ready_at,
                s.decision, i.fence, i.outcome, i.word, i.costs, i.reason, i.message, i.position
    ), history AS (
      INSERT INTO past_attempts (task_id, attempt, fence, agent_id, agent_epoch, leased_at, started_at, ended_at,
                                 outcome, word, charged, failure_reason, failure_message, decision)
      SELECT task_id, attempts, fence, agent_id, agent_epoch, leased_at, started_at, now(),
             outcome, word, costs, reason, message, decision
        FROM moved WHERE state = 'READY'
    )
    SELECT date_part('epoch', now()) * 1000 AS ended_at_ms, string_agg(position::text, ',') AS positions,
           string_agg(coalesce((date_part('epoch', ready_at) * 1000)::bigint::text, ''), ',') AS ready_at_ms,
           string_agg(coalesce((date_part('epoch', started_at) * 1000)::bigint::text, ''), ',') AS started_at_ms
      FROM moved`,
};
const ENDING_STATES = statesThatAllow("SUCCEED");

/** One lease to end. */
export interface LeaseEnd {
  readonly taskId: string;
  readonly fence: bigint;
  readonly settlement: Settlement;
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

/** Lists, of what was ended, all in the same order: the driver takes longer for rows than it takes to cut a text. Null when nothing was. A
 * moment that is not known, or not told, is an empty text. */
interface SettleRow {
  readonly ended_at_ms: number;
  /** Each one's place among the ends asked for, from 1. */
  readonly positions: string | null;
  readonly started_at_ms: string | null;
  /** Left out where none goes on. */
  readonly ready_at_ms?: string | null;
}

/** A lease that was ended; epoch milliseconds by database time. */
export interface SettledLease {
  /** When the task is ready again; 0 when it has ended. */
  readonly readyAtMs: number;
  /** Undefined when the agent never said that it began. */
  readonly startedAtMs: number | undefined;
  readonly endedAtMs: number;
}

/** What ends did, in their order. */
export type Settled = readonly (SettledLease | undefined)[];

const NO_ENDS: readonly LeaseEnd[] = [];

/** Ends leases (each task once). Returns what became of each, in their order: nothing of a lease that was over already, and nothing of it
 * changed. Cost: 1 or 2 statements in one round trip; 1 row version a task, and 1 row for an attempt that another one follows. */
export async function settleLeases(client: Queryable, ends: readonly LeaseEnd[]): Promise<Settled> {
  const successes = ends.filter(succeeds);
  const others = successes.length === ends.length ? NO_ENDS : ends.filter(doesNotSucceed);
  const [first, rest] = await together(
    settleBy(client, SUCCEED, successes, columnsOfSuccesses),
    settleBy(client, SETTLE, others, columnsOfOthers),
  );
  return inOrder(ends, succeeds, first, rest);
}

async function settleBy(
  client: Queryable,
  statement: { readonly name: string; readonly text: string },
  ends: readonly LeaseEnd[],
  columnsOf: (ends: readonly LeaseEnd[]) => unknown[],
): Promise<Settled> {
  if (ends.length === 0) return [];
  const { rows } = await client.query<SettleRow>(statement, columnsOf(ends));
  return readSettled(ends, rows[0] as SettleRow);
}

function readSettled(ends: readonly LeaseEnd[], row: SettleRow): Settled {
  const { ended_at_ms: endedAtMs, positions, ready_at_ms, started_at_ms } = row;
  const settled: (SettledLease | undefined)[] = Array.from({ length: ends.length });
  if (positions === null) return settled;
  const readyAt = ready_at_ms?.split(",");
  const startedAt = started_at_ms?.split(",") ?? [];
  let index = 0;
  for (const position of positions.split(",")) {
    const at = Number(position) - 1;
    const started = startedAt[index] ?? "";
    settled[at] = {
      readyAtMs: readyAt === undefined ? 0 : Number(readyAt[index]),
      startedAtMs: started === "" ? startOf(ends[at] as LeaseEnd, endedAtMs) : Number(started),
      endedAtMs,
    };
    index += 1;
  }
  return settled;
}

/** When an attempt began of which the database was just told how long ago that was. */
function startOf(end: LeaseEnd, endedAtMs: number): number | undefined {
  const agoMs = startedAgoOf(end);
  return agoMs === null ? undefined : Math.round(endedAtMs - agoMs);
}

function columnsOfSuccesses(ends: readonly LeaseEnd[]): unknown[] {
  return [
    uuidArray(ends.map(taskOf)),
    int8Array(ends.map(fenceOf)),
    int8Array(ends.map(startedAgoOf)),
    textArray(ends.map(outputTypeOf)),
    byteaArray(ends.map(outputOf)),
    int8Array(ends.map(storedBytesOf)),
    ENDING_STATES,
  ];
}

function columnsOfOthers(ends: readonly LeaseEnd[]): unknown[] {
  return [
    uuidArray(ends.map(taskOf)),
    int8Array(ends.map(fenceOf)),
    int8Array(ends.map(startedAgoOf)),
    ends.map(stateOf),
    textArray(ends.map(outcomeOf)),
    textArray(ends.map(wordOf)),
    boolArray(ends.map(chargedOf)),
    boolArray(ends.map(lossOf)),
    boolArray(ends.map(crowdedOf)),
    textArray(ends.map(reasonOf)),
    textArray(ends.map(messageOf)),
    int8Array(ends.map(delayOf)),
    ENDING_STATES,
  ];
}

// What is made anew for each batch V8 forgets with the next collection of the whole heap, and compiles again.
const succeeds = ({ settlement }: LeaseEnd) => settlement.event === "SUCCEED";
const doesNotSucceed = ({ settlement }: LeaseEnd) => settlement.event !== "SUCCEED";
const taskOf = ({ taskId }: LeaseEnd) => taskUuid(taskId);
const fenceOf = ({ fence }: LeaseEnd) => fence;
const stateOf = ({ settlement }: LeaseEnd) => stateAfter(settlement);
const outcomeOf = ({ settlement }: LeaseEnd) => settlement.outcome;
const wordOf = ({ settlement }: LeaseEnd) => settlement.word;
const chargedOf = ({ settlement }: LeaseEnd) => settlement.charged;
const lossOf = ({ settlement }: LeaseEnd) => settlement.loss === true;
const crowdedOf = ({ settlement }: LeaseEnd) => settlement.crowded === true;
const reasonOf = ({ settlement }: LeaseEnd) => settlement.failure?.reason ?? null;
const messageOf = ({ settlement }: LeaseEnd) => settlement.failure?.message ?? null;
const startedAgoOf = ({ startedAgoMs }: LeaseEnd) =>
  startedAgoMs === undefined ? null : Math.round(startedAgoMs);
const delayOf = ({ settlement }: LeaseEnd) => Math.round(settlement.delayMs);
const outputTypeOf = ({ settlement }: LeaseEnd) => settlement.output?.contentType ?? null;
const outputOf = ({ settlement }: LeaseEnd) => settlement.output?.data ?? null;
const storedBytesOf = ({ settlement }: LeaseEnd) => settlement.output?.storedBytes ?? null;

/** Both places of an attempt by its task: joined as the view that they make, the whole table of tasks would be read. */
const FIND_WORDS = {
  name: "settle-find-words",
  text: `
    SELECT a.task_id, a.fence, t.namespace, a.agent_id, a.word
      FROM unnest($1::uuid[], $2::bigint[]) AS i(task_id, fence)
      JOIN tasks t ON t.task_id = i.task_id,
   LATERAL (SELECT task_id, fence, agent_id, word FROM past_attempts WHERE task_id = i.task_id AND fence = i.fence
             UNION ALL
            SELECT task_id, last_fence, agent_id, word FROM task_states
             WHERE task_id = i.task_id AND last_fence = i.fence AND outcome IS NOT NULL) a`,
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
