/** What running tasks put out, kept for those who resume a watch. */
import type { Queryable } from "@nexus/postgres";
import type { ChunkLimits, ChunkPlace } from "../domain/reader.ts";
import type { StreamChunk, StreamSource } from "../domain/task-stream.ts";
import { taskUuid } from "./row-ids.ts";
import { toBuffer } from "./task-insert.ts";

/** A chunk with its task. */
export interface ChunkRow extends StreamChunk {
  readonly taskId: string;
}

/** The statement is a transaction of its own, and its setting holds until that ends. Nobody waits for the disk: a crash
 * of the server may cost the last moment of chunks, never their order. */
const APPEND = {
  name: "chunks-append",
  text: `
    WITH fast AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
    INSERT INTO task_chunks (task_id, fence, sequence, data)
    SELECT i.task_id, i.fence, i.sequence, i.data
      FROM fast, unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bytea[]) AS i(task_id, fence, sequence, data)`,
};

/** Stores chunks. A row may come twice when it is unknown whether the first time was stored: readers see it once. */
export async function appendChunks(pool: Queryable, rows: readonly ChunkRow[]): Promise<void> {
  await pool.query(APPEND, [
    rows.map((row) => taskUuid(row.taskId)),
    rows.map((row) => row.fence.toString()),
    rows.map((row) => row.sequence.toString()),
    rows.map((row) => (row.data === undefined ? null : toBuffer(row.data))),
  ]);
}

const READ_AFTER = {
  name: "chunks-read-after",
  text: `
    WITH page AS (
      SELECT sequence, data, sum(coalesce(octet_length(data), 0)) OVER (ORDER BY sequence ROWS UNBOUNDED PRECEDING) AS bytes
        FROM (
          SELECT sequence, data FROM task_chunks
           WHERE task_id = $1 AND fence = $2 AND sequence > $3
           ORDER BY sequence
           LIMIT $4
        ) AS next_rows
    )
    SELECT sequence, data FROM page
     WHERE bytes - coalesce(octet_length(data), 0) < $5
     ORDER BY sequence`,
};

/** Reads an attempt's chunks behind a place, lowest first, at most `items`, and no further one once they hold `bytes`.
 * Empty when there are no more. */
export async function readChunks(
  client: Queryable,
  place: ChunkPlace,
  limits: ChunkLimits,
): Promise<StreamChunk[]> {
  const { rows } = await client.query<{ sequence: string; data: Buffer | null }>(READ_AFTER, [
    taskUuid(place.taskId),
    place.fence.toString(),
    place.after.toString(),
    limits.items,
    limits.bytes,
  ]);
  return rows.map((row) => ({
    fence: place.fence,
    sequence: BigInt(row.sequence),
    data: row.data ?? undefined,
  }));
}

const NEWEST_ATTEMPT = {
  name: "chunks-newest-attempt",
  text: `
    SELECT fence, attempt, agent_id FROM leases WHERE task_id = $1
     UNION ALL
    (SELECT fence, attempt, agent_id FROM attempts WHERE task_id = $1 ORDER BY attempt DESC LIMIT 1)
     ORDER BY attempt DESC
     LIMIT 1`,
};

/** Reads which attempt of a task is the newest, running or ended; undefined when there was none. */
export async function readNewestAttempt(
  client: Queryable,
  taskId: string,
): Promise<StreamSource | undefined> {
  const { rows } = await client.query<{ fence: string; attempt: number; agent_id: string }>(
    NEWEST_ATTEMPT,
    [taskUuid(taskId)],
  );
  const row = rows[0];
  if (row === undefined) return undefined;
  return { fence: BigInt(row.fence), attempt: row.attempt, agentId: row.agent_id };
}
