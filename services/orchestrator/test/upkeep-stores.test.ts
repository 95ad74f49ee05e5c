import type { Pool } from "@nexus/postgres";
import { createIds } from "@nexus/shared";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { keepPartitions, partitionName } from "../src/store/partition-store.ts";
import { deleteOldRequests, recordRequests } from "../src/store/request-store.ts";
import { type OpenDatabase, openDatabase } from "./_database.ts";

const DAY_MS = 86_400_000;
const ids = createIds();
let open: OpenDatabase;
let pool: Pool;

beforeAll(async () => {
  open = await openDatabase();
  pool = open.pool;
});
afterAll(() => open.close());

async function count(table: string): Promise<number> {
  const { rows } = await pool.query<{ n: number }>(`SELECT count(*)::int AS n FROM ${table}`);
  return rows[0]?.n ?? 0;
}

describe("upkeep", () => {
  it("makes the partitions once when replicas start together", async () => {
    const policy = { table: "job_events" as const, daysAhead: 20, retentionMs: 14 * DAY_MS };
    await Promise.all(Array.from({ length: 4 }, () => keepPartitions(pool, policy)));
    const { rows } = await pool.query<{ name: string }>(
      "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'job_events'::regclass",
    );
    const names = rows.map((row) => row.name);
    expect(names).toContain(partitionName("job_events", new Date(Date.now() + 20 * DAY_MS)));
    const locks =
      "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    expect((await pool.query(locks)).rowCount).toBe(0);
  });

  it.each(["job_events", "task_chunks"] as const)(
    "makes the partitions of coming days of %s and drops those beyond the retention",
    async (table) => {
      const policy = { table, daysAhead: 3, retentionMs: 2 * DAY_MS };
      await keepPartitions(pool, policy);
      const old = new Date(Math.floor(Date.now() / DAY_MS) * DAY_MS - 5 * DAY_MS);
      const to = new Date(old.getTime() + DAY_MS).toISOString();
      await pool.query(
        `CREATE TABLE ${partitionName(table, old)} PARTITION OF ${table}
         FOR VALUES FROM ('${old.toISOString()}') TO ('${to}')`,
      );
      await keepPartitions(pool, policy);
      const { rows } = await pool.query<{ name: string }>(
        `SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = '${table}'::regclass ORDER BY 1`,
      );
      const names = rows.map((row) => row.name);
      expect(names).not.toContain(partitionName(table, old));
      expect(names).toContain(partitionName(table, new Date(Date.now() + 3 * DAY_MS)));
      expect(await count(`${table}_default`)).toBe(0);
    },
  );

  it("forgets old request ids, a bounded number at a time", async () => {
    const records = Array.from({ length: 5 }, (_, i) => ({
      namespace: "default",
      principalId: "old",
      requestId: `r${i}`,
      method: "SubmitJob" as const,
      bodyHash: new Uint8Array(1),
      jobId: ids.next("job"),
      entryId: undefined,
    }));
    await recordRequests(pool, records);
    await pool.query(
      "UPDATE requests SET created_at = now() - interval '25 hours' WHERE principal_id = 'old'",
    );
    expect(await deleteOldRequests(pool, 24 * 3_600_000, 3)).toBe(3);
    expect(await deleteOldRequests(pool, 24 * 3_600_000, 3)).toBe(2);
  });
});
