/** The claim: turns waiting tasks into leased ones. */
import {
  int8Array,
  jsonArray,
  type Queryable,
  textArray,
  together,
  uuidArray,
} from "@nexus/postgres";
import type { Claim } from "../domain/live-task.ts";
import { arrayRows, POSITION } from "./array-rows.ts";
import { writeDecision } from "./decision-row.ts";
import { jobUuid, taskUuid, toTaskId } from "./row-ids.ts";
import { inOrder } from "./two-parts.ts";

/** What `columnsOf` gives. */
const COLUMNS = {
  task_id: "uuid",
  job_id: "uuid",
  agent_id: "text",
  agent_epoch: "bigint",
  capability_version: "text",
  decision: "json",
  start_to_close_ms: "bigint",
  ready_ms: "bigint",
};
/** A leased row's columns, and what is put into them. */
const LEASED = `task_id, job_id, state, pending, attempts, fence, agent_id, agent_epoch, capability_version,
                               ready_at, leased_at, deadline_at, decision`;
const leasedValues = (fence: string) => `
             task_id, job_id, 'LEASED', 0, 1, ${fence}, agent_id, agent_epoch, capability_version,
             'epoch'::timestamptz + ready_ms * interval '1 millisecond', now(),
             now() + start_to_close_ms * interval '1 millisecond', decision`;

/** How many fences a draw is good for: what `fence_seq` counts up by (0030). Never more than that, or two leases would share one; and that never
 * gets less, as replicas of another version may run beside. */
const FENCES_PER_DRAW = 2_048;

/** Inserts the state rows of tasks that have none. One that has one all the same ends the transaction: a claim that looks costs the
 * database a third more (ADR 0042). One draw gives the fences of all of them, in the order of the claims (ADR 0052). */
const CLAIM_NEW = {
  name: "claim-new",
  text: `
    WITH draw AS MATERIALIZED (
      SELECT nextval('fence_seq') AS first
    ), granted AS (
      INSERT INTO task_states (${LEASED})
      SELECT ${leasedValues("(SELECT first FROM draw) + position - 1")}
        FROM (SELECT ${arrayRows(COLUMNS)}, ${POSITION}) c
    )
    SELECT (extract(epoch FROM now()) * 1000)::float8 AS now_ms, first FROM draw`,
};

/** A task that waits since it was made gets its state row here, one that waits again has it. Which it is, the key decides: nobody can
 * lease a task twice, and what a cancel, a pause or an expiry writes at the same moment is waited for and then respected. That the task
 * exists is not looked up, which took a fifth of the statement: its job is, and the number of its READY tasks (stepJobs). */
const CLAIM = {
  name: "claim",
  text: `
    WITH granted AS (
      INSERT INTO task_states AS s (${LEASED})
      SELECT ${leasedValues("nextval('fence_seq')")}
        FROM (SELECT ${arrayRows(COLUMNS)}) c
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

interface NewClaimsRow {
  readonly now_ms: number;
  /** The first one's fence: text, as no number holds all of them. */
  readonly first: string;
}

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

/** What claims were granted, in their order. */
export type Granted = readonly (GrantedLease | undefined)[];

const NO_CLAIMS: readonly Claim[] = [];

/** Leases tasks (each once) to agents; returns what each claim was granted, in their order. One whose task no longer waits gets nothing.
 *
 * `trustsMemory`: tasks that memory takes for new are not looked for.
 * Errors: exists/ALREADY_EXISTS when one of those has a state row. Cost: 1 or 2 statements in one round trip; 1 row a task. */
export async function claimTasks(
  client: Queryable,
  claims: readonly Claim[],
  trustsMemory = false,
): Promise<Granted> {
  const fresh = trustsMemory ? claims.filter(isNew) : NO_CLAIMS;
  if (fresh.length === claims.length) return claimNew(client, claims);
  const others = trustsMemory ? claims.filter((claim) => !isNew(claim)) : claims;
  const [first, rest] = await together(claimNew(client, fresh), claimAny(client, others));
  return inOrder(claims, isNew, first, rest);
}

async function claimNew(client: Queryable, claims: readonly Claim[]): Promise<Granted> {
  const draws: Promise<Granted>[] = [];
  for (let start = 0; start < claims.length; start += FENCES_PER_DRAW) {
    draws.push(claimDrawn(client, claims.slice(start, start + FENCES_PER_DRAW)));
  }
  return (await together(...draws)).flat();
}

/** At most as many as a draw has fences. */
async function claimDrawn(client: Queryable, claims: readonly Claim[]): Promise<Granted> {
  const { rows } = await client.query<NewClaimsRow>(CLAIM_NEW, columnsOf(claims));
  const { now_ms: leasedAtMs, first } = rows[0] as NewClaimsRow;
  const firstFence = BigInt(first);
  return claims.map((_, index) => ({
    fence: firstFence + BigInt(index),
    attempt: 1,
    leasedAtMs,
  }));
}

async function claimAny(client: Queryable, claims: readonly Claim[]): Promise<Granted> {
  if (claims.length === 0) return [];
  const { rows } = await client.query<ClaimRow>(CLAIM, columnsOf(claims));
  const { now_ms: leasedAtMs, granted: leases } = rows[0] as ClaimRow;
  const granted = new Map<string, GrantedLease>();
  for (const [task, fence, attempt] of leases ?? []) {
    granted.set(toTaskId(task), { fence: BigInt(fence), attempt, leasedAtMs });
  }
  return claims.map(({ task }) => granted.get(task.taskId));
}

function columnsOf(claims: readonly Claim[]): unknown[] {
  return [
    uuidArray(claims.map(taskOf)),
    uuidArray(claims.map(jobOf)),
    textArray(claims.map(agentOf)),
    int8Array(claims.map(epochOf)),
    textArray(claims.map(versionOf)),
    jsonArray(claims.map(decisionOf)),
    int8Array(claims.map(startToCloseOf)),
    int8Array(claims.map(readyAtOf)),
  ];
}

// What is made anew for each batch V8 forgets with the next collection of the whole heap, and compiles again.
const isNew = ({ task }: Claim) => task.isNew === true;
const taskOf = ({ task }: Claim) => taskUuid(task.taskId);
const jobOf = ({ task }: Claim) => jobUuid(task.jobId);
const agentOf = ({ agentId }: Claim) => agentId;
const epochOf = ({ agentEpoch }: Claim) => agentEpoch;
const versionOf = ({ capabilityVersion }: Claim) => capabilityVersion;
const decisionOf = ({ decision }: Claim) => writeDecision(decision);
const startToCloseOf = ({ task }: Claim) => task.spec.startToCloseMs;
const readyAtOf = ({ task }: Claim) => Math.floor(task.readyAtMs);
