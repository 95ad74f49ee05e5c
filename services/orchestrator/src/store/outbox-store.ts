/** Ends of attempts that registry and insight have not both acknowledged. */
import type { Queryable } from "@nexus/postgres";
import type { Outcome } from "../domain/outcome.ts";
import { toJobId, toTaskId } from "./row-ids.ts";

const READ = {
  name: "outbox-read",
  text: `
    SELECT id, namespace, job_id, task_id, fence, agent_id, capability, attempt, success, reason,
           (extract(epoch FROM ready_at) * 1000)::float8 AS ready_at_ms,
           (extract(epoch FROM leased_at) * 1000)::float8 AS leased_at_ms,
           (extract(epoch FROM started_at) * 1000)::float8 AS started_at_ms,
           (extract(epoch FROM ended_at) * 1000)::float8 AS ended_at_ms
      FROM outbox WHERE id > $1 AND shard = ANY($3::smallint[]) ORDER BY id LIMIT $2`,
};

interface OutboxRow {
  readonly id: string;
  readonly namespace: string;
  readonly job_id: string;
  readonly task_id: string;
  readonly fence: string;
  readonly agent_id: string;
  readonly capability: string;
  readonly attempt: number;
  readonly success: boolean;
  readonly reason: string;
  // Numbers, as the driver takes long to make a date of a text.
  readonly ready_at_ms: number;
  readonly leased_at_ms: number;
  readonly started_at_ms: number | null;
  readonly ended_at_ms: number;
}

/** Reads outcomes of the shards after a position, oldest first. Positions of a shard have the order of its commits. */
export async function readOutbox(
  client: Queryable,
  shards: readonly number[],
  after: bigint,
  limit: number,
): Promise<Outcome[]> {
  const { rows } = await client.query<OutboxRow>(READ, [after.toString(), limit, shards]);
  return rows.map((row) => ({
    position: BigInt(row.id),
    namespace: row.namespace,
    jobId: toJobId(row.job_id),
    taskId: toTaskId(row.task_id),
    fence: BigInt(row.fence),
    agentId: row.agent_id,
    capability: row.capability,
    attempt: row.attempt,
    success: row.success,
    reason: row.reason,
    readyAt: new Date(row.ready_at_ms),
    leasedAt: new Date(row.leased_at_ms),
    startedAt: row.started_at_ms === null ? undefined : new Date(row.started_at_ms),
    endedAt: new Date(row.ended_at_ms),
  }));
}

const DELETE = {
  name: "outbox-delete",
  text: `
    DELETE FROM outbox o
     WHERE id <= $1 AND shard = ANY($2::smallint[])
       AND EXISTS (SELECT FROM shard_owners s WHERE s.shard = o.shard AND s.owner = $3)`,
};

/** Deletes outcomes of the shards up to a position; returns how many. What is another replica's by now is left to it: it may have
 * more below the position than this one saw. */
export async function deleteOutbox(
  client: Queryable,
  { replicaId, shards }: { readonly replicaId: string; readonly shards: readonly number[] },
  upTo: bigint,
): Promise<number> {
  const { rowCount } = await client.query(DELETE, [upTo.toString(), shards, replicaId]);
  return rowCount;
}

const SPAN = {
  name: "outbox-span",
  text: "SELECT min(id) AS first, max(id) AS last FROM outbox WHERE shard = ANY($1::smallint[])",
};

/** Returns the lowest and highest position of the shards; undefined when nothing waits. Positions are dense enough to count what
 * all replicas have waiting. */
export async function readOutboxSpan(
  client: Queryable,
  shards: readonly number[],
): Promise<{ readonly first: bigint; readonly last: bigint } | undefined> {
  const { rows } = await client.query<{ first: string | null; last: string | null }>(SPAN, [
    shards,
  ]);
  const { first = null, last = null } = rows[0] ?? {};
  return first === null || last === null ? undefined : { first: BigInt(first), last: BigInt(last) };
}
