/** Reputations, and how far each stream of outcomes was counted. */
import { type Pool, type Queryable, together, withTransaction } from "@nexus/postgres";
import { type AgentKey, keyText } from "../domain/agent.ts";
import { compareText } from "../domain/capability-definition.ts";
import type {
  OutcomeTally,
  ReputationAfter,
  ReputationBefore,
  ReputationStore,
} from "../domain/ports.ts";
import { attemptsOf } from "../domain/reputation-tracker.ts";
import { type ReputationJson, toReputation } from "./agent-rows.ts";
import { appendChanges } from "./change-feed.ts";

/** How long a silent stream is remembered, by the contract: twice as long as outcomes are told. */
const STREAM_MEMORY_MS = 48 * 3_600_000;

/** Creates the store. */
export function createReputationStore(pool: Pool): ReputationStore {
  return {
    // Locks are taken in one order by everybody: the stream, the agents by key, the feed. So nobody waits in a circle.
    count: (stream, groups, fold) =>
      withTransaction(pool, async (tx) => {
        const { position, nowMs } = await advance(tx, stream, groups.at(-1)?.position ?? 0n);
        const fresh = groups.flatMap((group) => (group.position > position ? group.tallies : []));
        if (fresh.length === 0) return { counted: 0, change: undefined };
        const before = await selectReputations(tx, fresh);
        const registered = new Set(before.map(keyText));
        const after = fold(before, fresh, nowMs);
        const [, change] = await together(
          upsertReputations(tx, after),
          appendChanges(tx, distinctKeys(after), "reputation"),
        );
        const counted = attemptsOf(fresh.filter((tally) => registered.has(keyText(tally))));
        return { counted, change };
      }),
  };
}

/** Forgets streams that were silent for long. */
export async function forgetStreams(pool: Pool): Promise<void> {
  await pool.query(
    "DELETE FROM outcome_streams WHERE heard_at < now() - make_interval(secs => $1::float8 / 1000)",
    [STREAM_MEMORY_MS],
  );
}

/** Moves a stream on to a position, unless it is there, and returns where it stood. Others that bring groups of the stream wait here
 * until the commit, and then see where it stands. */
async function advance(
  tx: Queryable,
  stream: string,
  position: bigint,
): Promise<{ position: bigint; nowMs: number }> {
  const { rows } = await tx.query<{ previous: string; now_ms: number }>({
    name: "advance-stream",
    text: `INSERT INTO outcome_streams AS s (stream, position, previous) VALUES ($1, $2, 0)
      ON CONFLICT ON CONSTRAINT outcome_streams_key DO UPDATE
        SET previous = s.position, position = greatest(s.position, excluded.position), heard_at = now()
      RETURNING previous, date_part('epoch', now()) * 1000 AS now_ms`,
    values: [stream, position.toString()],
  });
  const row = rows[0];
  if (row === undefined) throw new Error("a stream was not moved on");
  return { position: BigInt(row.previous), nowMs: row.now_ms };
}

interface ReputationRow {
  readonly position: number;
  readonly namespace: string;
  readonly agent_id: string;
  readonly capability: string;
  readonly reputation: ReputationJson | null;
}

/** Reads the reputations that outcomes belong to; agents that are not registered are absent.
 *
 * Locks the agents until the commit: against removal, and against whoever counts outcomes of theirs on another stream. */
async function selectReputations(
  tx: Queryable,
  tallies: readonly OutcomeTally[],
): Promise<ReputationBefore[]> {
  const wanted = [
    ...new Map(tallies.map((each) => [`${keyText(each)}\n${each.capability}`, each])).values(),
  ].sort(
    (a, b) =>
      compareText(a.namespace, b.namespace) ||
      compareText(a.agentId, b.agentId) ||
      compareText(a.capability, b.capability),
  );
  const keys = [
    wanted.map(({ namespace }) => namespace),
    wanted.map(({ agentId }) => agentId),
  ] as const;
  // Two statements: the second one sees what was committed while the first one waited. Agents that appeared between the two are
  // left out with those that are not there.
  const [locked, found] = await together(
    tx.query<{ position: number }>({
      name: "lock-agents",
      text: `SELECT i.position::int FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS i(namespace, agent_id, position)
        JOIN agents a ON a.namespace = i.namespace AND a.agent_id = i.agent_id
        ORDER BY i.position FOR NO KEY UPDATE OF a`,
      values: keys,
    }),
    tx.query<ReputationRow>({
      name: "select-reputations",
      text: `SELECT i.position::int, i.namespace, i.agent_id, i.capability,
          CASE WHEN r.capability IS NOT NULL THEN json_build_object('capability', r.capability,
            'successWeight', r.success_weight, 'failureWeight', r.failure_weight, 'succeeded', r.succeeded,
            'failed', r.failed, 'meanLatencyMs', r.mean_latency_ms, 'lastCause', r.last_cause,
            'updatedAtMs', (extract(epoch FROM r.updated_at) * 1000)::float8) END AS reputation
        FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS i(namespace, agent_id, capability, position)
        JOIN agents a ON a.namespace = i.namespace AND a.agent_id = i.agent_id
        LEFT JOIN reputations r
          ON r.namespace = i.namespace AND r.agent_id = i.agent_id AND r.capability = i.capability
        ORDER BY i.position`,
      values: [...keys, wanted.map(({ capability }) => capability)],
    }),
  );
  const positions = new Set(locked.rows.map(({ position }) => position));
  const rows = found.rows.filter(({ position }) => positions.has(position));
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
