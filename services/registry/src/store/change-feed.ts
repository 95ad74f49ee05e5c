/** The change feed: rows in commit order, read by every replica. */
import type { Pool, Queryable } from "@nexus/postgres";
import type { AgentKey } from "../domain/agent.ts";
import type {
  AgentChange,
  AgentPart,
  ChangedAgent,
  ChangeFeed,
  FeedBatch,
  FeedHead,
} from "../domain/ports.ts";
import { keyColumns } from "./agent-rows.ts";

/** The channel on which replicas poke each other. A poke is a hint: a replica that misses one polls soon anyway. */
export const CHANGE_CHANNEL = "nexus_registry_changes";

/** Rows that one pruning deletes at most. */
const PRUNE_ROWS_MAX = 20_000;

/** Adds a line for each agent and returns the last revision; undefined without agents. Must be the transaction's last
 * statement: from here to the commit every other writer of the feed waits, which is what puts it in commit order. */
export async function appendChanges(
  tx: Queryable,
  keys: readonly AgentKey[],
  part: AgentPart,
): Promise<number | undefined> {
  if (keys.length === 0) return undefined;
  const { rows } = await tx.query<{ revision: string }>({
    name: "append-changes",
    text: "SELECT append_agent_changes($1::text[], $2::text[], $3) AS revision",
    values: [...keyColumns(keys), part],
  });
  return Number(rows[0]?.revision);
}

/** The feed with what only its keeper does. */
export interface ChangeFeedStore extends ChangeFeed {
  /** Pokes the other replicas, saying who pokes. */
  announce(replicaId: string): Promise<void>;
  /** Deletes lines that are older than `ageMs` or beyond the newest `rows`; returns how many. */
  prune(limits: { readonly ageMs: number; readonly rows: number }): Promise<number>;
}

interface ChangeRow {
  readonly feed_id: string;
  readonly pruned_through: string;
  readonly revision: string | null;
  readonly namespace: string;
  readonly agent_id: string;
  readonly part: AgentPart;
}

/** Creates the feed over a pool. */
export function createChangeFeed(pool: Pool): ChangeFeedStore {
  return {
    head: () => selectHead(pool),
    read: (after, limit) => selectChanges(pool, after, limit),
    changedBetween: (after, through, namespace) =>
      selectChangedBetween(pool, { after, through, namespace }),
    announce: async (replicaId) => {
      await pool.query({
        name: "announce",
        text: "SELECT pg_notify($1, $2)",
        values: [CHANGE_CHANNEL, replicaId],
      });
    },
    prune: (limits) => pruneChanges(pool, limits),
  };
}

async function selectHead(pool: Pool): Promise<FeedHead> {
  const { rows } = await pool.query<{ feed_id: string; pruned_through: string; revision: string }>(
    `SELECT feed_id, pruned_through,
       coalesce((SELECT max(revision) FROM agent_changes), pruned_through) AS revision
     FROM feed_state`,
  );
  const row = rows[0];
  if (row === undefined) throw new Error("feed_state has no row");
  return {
    feedId: row.feed_id,
    prunedThrough: Number(row.pruned_through),
    revision: Number(row.revision),
  };
}

/** One statement, hence one snapshot: rows cannot be pruned between the look at the horizon and the look at them. */
async function selectChanges(pool: Pool, after: number, limit: number): Promise<FeedBatch> {
  const { rows } = await pool.query<ChangeRow>({
    name: "read-changes",
    text: `SELECT f.feed_id, f.pruned_through, c.revision, c.namespace, c.agent_id, c.part
      FROM feed_state f
      LEFT JOIN LATERAL (
        SELECT revision, namespace, agent_id, part FROM agent_changes
        WHERE revision > $1 ORDER BY revision LIMIT $2
      ) c ON true
      ORDER BY c.revision`,
    values: [after, limit],
  });
  const first = rows[0];
  if (first === undefined) throw new Error("feed_state has no row");
  return {
    feedId: first.feed_id,
    prunedThrough: Number(first.pruned_through),
    changes: rows.flatMap(toChange),
  };
}

function toChange(row: ChangeRow): AgentChange[] {
  if (row.revision === null) return [];
  const { namespace, agent_id: agentId, part } = row;
  return [{ revision: Number(row.revision), namespace, agentId, part }];
}

async function selectChangedBetween(
  pool: Pool,
  range: { after: number; through: number; namespace: string | undefined },
): Promise<ChangedAgent[]> {
  const { rows } = await pool.query<{ namespace: string; agent_id: string; revision: string }>(
    `SELECT namespace, agent_id, max(revision) AS revision FROM agent_changes
     WHERE revision > $1 AND revision <= $2 AND ($3::text IS NULL OR namespace = $3)
     GROUP BY namespace, agent_id ORDER BY max(revision)`,
    [range.after, range.through, range.namespace ?? null],
  );
  return rows.map(({ namespace, agent_id, revision }) => ({
    namespace,
    agentId: agent_id,
    revision: Number(revision),
  }));
}

/** Moves the horizon and deletes what is behind it in one statement. Replicas that prune at once wait for each other on
 * the row of feed_state. */
async function pruneChanges(
  pool: Pool,
  { ageMs, rows: kept }: { ageMs: number; rows: number },
): Promise<number> {
  const { rowCount } = await pool.query(
    `WITH wanted AS (
       SELECT greatest(
         coalesce((SELECT max(revision) FROM agent_changes), 0) - $1::bigint,
         coalesce(
           (SELECT revision - 1 FROM agent_changes
            WHERE changed_at >= now() - make_interval(secs => $2::float8 / 1000) ORDER BY revision LIMIT 1),
           (SELECT max(revision) FROM agent_changes),
           0)
       ) AS revision
     ), bounded AS (
       SELECT least(
         (SELECT revision FROM wanted),
         (SELECT revision FROM agent_changes ORDER BY revision OFFSET $3::int LIMIT 1)
       ) AS revision
     ), moved AS (
       UPDATE feed_state SET pruned_through = bounded.revision FROM bounded
       WHERE pruned_through < bounded.revision
       RETURNING pruned_through
     )
     DELETE FROM agent_changes USING moved WHERE revision <= moved.pruned_through`,
    [kept, ageMs, PRUNE_ROWS_MAX],
  );
  return rowCount;
}
