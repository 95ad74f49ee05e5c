/** How many tasks wait for other tasks. */
import type { Queryable } from "@nexus/postgres";

const BLOCKED = {
  name: "blocked-count",
  text: `
    SELECT namespace, sum(blocked)::int AS blocked
      FROM jobs WHERE shard = ANY($1::smallint[]) AND ended_at IS NULL AND blocked > 0
     GROUP BY namespace`,
};

/** Counts the tasks in shards that wait for other tasks, by namespace. */
export async function countBlocked(
  client: Queryable,
  shards: readonly number[],
): Promise<Map<string, number>> {
  const { rows } = await client.query<{ namespace: string; blocked: number }>(BLOCKED, [shards]);
  return new Map(rows.map((row) => [row.namespace, row.blocked]));
}
