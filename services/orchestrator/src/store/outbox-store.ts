/** Ends of attempts that registry and insight have not both acknowledged. */
import type { Queryable } from "@nexus/postgres";
import type { Outcome } from "../domain/outcome.ts";
import { toJobId, toTaskId } from "./row-ids.ts";

const READ = {
  name: "outbox-read",
  text: `
    SELECT id, namespace, job_id, task_id, fence, agent_id, capability, attempt, success, reason, ready_at, leased_at,
           started_at, ended_at
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
  readonly ready_at: Date;
  readonly leased_at: Date;
  readonly started_at: Date | null;
  readonly ended_at: Date;
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
    readyAt: row.ready_at,
    leasedAt: row.leased_at,
    startedAt: row.started_at ?? undefined,
    endedAt: row.ended_at,
  }));
}

const DELETE = {
  name: "outbox-delete",
  text: "DELETE FROM outbox WHERE id <= $1 AND shard = ANY($2::smallint[])",
};

/** Deletes outcomes of the shards up to a position; returns how many. */
export async function deleteOutbox(
  client: Queryable,
  shards: readonly number[],
  upTo: bigint,
): Promise<number> {
  const { rowCount } = await client.query(DELETE, [upTo.toString(), shards]);
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
