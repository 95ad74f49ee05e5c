/** Reputations, and the memory of which outcomes were counted. */
import { type Pool, type Queryable, withTransaction } from "@nexus/postgres";
import { type AgentKey, keyText } from "../domain/agent.ts";
import { compareText } from "../domain/capability-definition.ts";
import type {
  Outcome,
  ReputationAfter,
  ReputationBefore,
  ReputationStore,
} from "../domain/ports.ts";
import { type ReputationJson, toReputation } from "./agent-rows.ts";
import { appendChanges } from "./change-feed.ts";
import { createDayPartitions, dropDayPartitions } from "./day-partitions.ts";

/** Key of the advisory lock that all counting takes: "NXOC". */
const OUTCOMES_LOCK = 0x4e584f43;

/** How long an outcome is remembered. */
export const OUTCOME_MEMORY_MS = 86_400_000;

/** Creates the store. */
export function createReputationStore(pool: Pool): ReputationStore {
  return {
    count: (outcomes, fold) =>
      withTransaction(pool, async (tx) => {
        // The days of outcomes_seen share no unique key, so two batches must not look at the same time. One batch of 512
        // takes about 10 ms.
        await tx.query("SELECT pg_advisory_xact_lock($1)", [OUTCOMES_LOCK]);
        const { fresh, nowMs } = await remember(tx, outcomes);
        if (fresh.length === 0) return { counted: 0, change: undefined };
        const before = await selectReputations(tx, fresh);
        const registered = new Set(before.map(keyText));
        const after = fold(before, fresh, nowMs);
        await upsertReputations(tx, after);
        return {
          counted: fresh.filter((outcome) => registered.has(keyText(outcome))).length,
          change: await appendChanges(tx, distinctKeys(after), "reputation"),
        };
      }),
  };
}

/** Keeps the memory of outcomes as long as promised, and has room for those to come. */
export async function keepOutcomeMemory(pool: Pool): Promise<void> {
  await createDayPartitions(pool, "outcomes_seen");
  await dropDayPartitions(pool, "outcomes_seen", OUTCOME_MEMORY_MS);
}

async function remember(
  tx: Queryable,
  outcomes: readonly Outcome[],
): Promise<{ fresh: readonly Outcome[]; nowMs: number }> {
  const { rows } = await tx.query<{ position: number; now_ms: number }>({
    name: "remember-outcomes",
    text: `WITH input AS (
        SELECT * FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS t(task_id, fence, position)
      ), fresh AS (
        INSERT INTO outcomes_seen (task_id, fence)
        SELECT task_id, fence FROM input i
        WHERE NOT EXISTS (SELECT 1 FROM outcomes_seen s WHERE s.task_id = i.task_id AND s.fence = i.fence)
        RETURNING task_id, fence)
      SELECT i.position::int, (extract(epoch FROM now()) * 1000)::float8 AS now_ms
      FROM input i JOIN fresh f ON f.task_id = i.task_id AND f.fence = i.fence
      ORDER BY i.position`,
    values: [outcomes.map(({ taskId }) => taskId), outcomes.map(({ fence }) => fence.toString())],
  });
  return {
    fresh: rows.flatMap(({ position }) => outcomes[position - 1] ?? []),
    nowMs: rows[0]?.now_ms ?? 0,
  };
}

interface ReputationRow {
  readonly namespace: string;
  readonly agent_id: string;
  readonly capability: string;
  readonly reputation: ReputationJson | null;
}

/** Reads the reputations that outcomes belong to; agents that are not registered are absent. Locks the agents against
 * removal until the commit. */
async function selectReputations(
  tx: Queryable,
  outcomes: readonly Outcome[],
): Promise<ReputationBefore[]> {
  const wanted = [
    ...new Map(outcomes.map((each) => [`${keyText(each)}\n${each.capability}`, each])).values(),
  ].sort(
    (a, b) =>
      compareText(a.namespace, b.namespace) ||
      compareText(a.agentId, b.agentId) ||
      compareText(a.capability, b.capability),
  );
  const { rows } = await tx.query<ReputationRow>({
    name: "select-reputations",
    text: `SELECT i.namespace, i.agent_id, i.capability,
        CASE WHEN r.capability IS NOT NULL THEN json_build_object('capability', r.capability,
          'successWeight', r.success_weight, 'failureWeight', r.failure_weight, 'succeeded', r.succeeded,
          'failed', r.failed, 'meanLatencyMs', r.mean_latency_ms, 'lastCause', r.last_cause,
          'updatedAtMs', (extract(epoch FROM r.updated_at) * 1000)::float8) END AS reputation
      FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS i(namespace, agent_id, capability, position)
      JOIN agents a ON a.namespace = i.namespace AND a.agent_id = i.agent_id
      LEFT JOIN reputations r
        ON r.namespace = i.namespace AND r.agent_id = i.agent_id AND r.capability = i.capability
      ORDER BY i.position FOR KEY SHARE OF a`,
    values: [
      wanted.map(({ namespace }) => namespace),
      wanted.map(({ agentId }) => agentId),
      wanted.map(({ capability }) => capability),
    ],
  });
  return rows.map((row) => ({
    namespace: row.namespace,
    agentId: row.agent_id,
    capability: row.capability,
    reputation: row.reputation === null ? undefined : toReputation(row.reputation),
  }));
}

async function upsertReputations(
  tx: Queryable,
  reputations: readonly ReputationAfter[],
): Promise<void> {
  if (reputations.length === 0) return;
  const rows = reputations.map(({ namespace, agentId, reputation }) => ({
    namespace,
    agentId,
    ...reputation,
    meanLatencyMs: reputation.meanLatencyMs ?? null,
  }));
  await tx.query({
    name: "upsert-reputations",
    text: `INSERT INTO reputations (namespace, agent_id, capability, success_weight, failure_weight, succeeded, failed,
        mean_latency_ms, last_cause, updated_at)
      SELECT namespace, "agentId", capability, "successWeight", "failureWeight", succeeded, failed,
        "meanLatencyMs", "lastCause", to_timestamp("updatedAtMs" / 1000)
      FROM jsonb_to_recordset($1::jsonb) AS t(namespace text, "agentId" text, capability text, "successWeight" float8,
        "failureWeight" float8, succeeded bigint, failed bigint, "meanLatencyMs" float8, "lastCause" text,
        "updatedAtMs" float8)
      ON CONFLICT ON CONSTRAINT reputations_key DO UPDATE SET success_weight = excluded.success_weight,
        failure_weight = excluded.failure_weight, succeeded = excluded.succeeded, failed = excluded.failed,
        mean_latency_ms = excluded.mean_latency_ms, last_cause = excluded.last_cause, updated_at = excluded.updated_at`,
    values: [JSON.stringify(rows)],
  });
}

function distinctKeys(reputations: readonly ReputationAfter[]): AgentKey[] {
  const keys = reputations.map(({ namespace, agentId }) => ({ namespace, agentId }));
  return [...new Map(keys.map((key) => [keyText(key), key])).values()];
}
