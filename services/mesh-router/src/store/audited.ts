import { insertDrafts } from "@nexus/audit";
import { type Pool, type Queryable, withTransaction } from "@nexus/postgres";
import type { AuditLeaf } from "../domain/audit-leaf.ts";

/** Runs the work in one transaction with its entry in the audit log. `isRepeat` tells of a call that changed nothing, as an
 * earlier one with its id had done it: its entry is left to the server. */
export async function withLeaf<T>(
  pool: Pool,
  leaf: AuditLeaf | undefined,
  work: (client: Queryable) => Promise<{ readonly value: T; readonly isRepeat: boolean }>,
): Promise<T> {
  const { value, isRepeat } = await withTransaction(pool, async (client) => {
    const done = await work(client);
    if (leaf !== undefined && !done.isRepeat) await insertDrafts(client, [leaf.draft()]);
    return done;
  });
  if (!isRepeat) leaf?.stored();
  return value;
}
