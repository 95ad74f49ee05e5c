import { createPool, type Pool, withTransaction } from "@nexus/postgres";
import { createTestDatabase, type TestDatabase, waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { appendChanges, createChangeFeed } from "../src/store/change-feed.ts";

let database: TestDatabase;
let pool: Pool;
beforeAll(async () => {
  database = await createTestDatabase("registry");
  pool = createPool({ url: database.url, max: 20, applicationName: "test", schema: "registry" });
});
afterAll(async () => {
  await pool.close();
  await database.close();
});

const key = (agentId: string) => ({ namespace: "default", agentId });

describe("the change feed", () => {
  it("never shows a revision before a lower one, however transactions overlap", async () => {
    const feed = createChangeFeed(pool);
    const { revision: start } = await feed.head();
    const seen: number[] = [];
    let writing = true;
    const reader = (async () => {
      let cursor = start;
      for (;;) {
        const last = !writing;
        const { changes } = await feed.read(cursor, 64);
        for (const change of changes) seen.push(change.revision);
        cursor = changes.at(-1)?.revision ?? cursor;
        if (last && changes.length === 0) return;
      }
    })();
    const committed: number[] = [];
    const writer = async (id: number) => {
      for (let n = 0; n < 25; n++) {
        const revision = await withTransaction(pool, async (tx) => {
          await tx.query("SELECT pg_sleep(random() * 0.003)");
          return appendChanges(tx, [key(`w${id}-${n}-a`), key(`w${id}-${n}-b`)], "record");
        });
        committed.push(revision ?? 0);
        if (n % 5 === 0) await rolledBack(id, n);
      }
    };
    await Promise.all(Array.from({ length: 12 }, (_, id) => writer(id)));
    writing = false;
    await reader;
    expect(seen).toHaveLength(12 * 25 * 2);
    expect(seen).toEqual([...new Set(seen)].sort((a, b) => a - b));
    expect(committed.every((revision) => seen.includes(revision))).toBe(true);
  });

  it("lets a writer that has its revision finish before the next one gets any", async () => {
    const feed = createChangeFeed(pool);
    const { revision: start } = await feed.head();
    const slow = await pool.connect();
    await slow.query("BEGIN");
    const first = await appendChanges(slow, [key("slow")], "record");
    let second: number | undefined;
    const quick = withTransaction(pool, async (tx) => {
      second = await appendChanges(tx, [key("quick")], "record");
    });
    await waitFor(
      async () => {
        const { rows } = await pool.query("SELECT 1 FROM pg_locks WHERE NOT granted");
        return rows.length > 0;
      },
      { what: "the second writer to wait" },
    );
    expect((await feed.read(start, 10)).changes).toEqual([]);
    expect(second).toBeUndefined();
    await slow.query("COMMIT");
    slow.release();
    await quick;
    const { changes } = await feed.read(start, 10);
    expect(changes.map(({ revision }) => revision)).toEqual([first, second]);
  });

  it("forgets old lines and lines beyond its bound, and says how far", async () => {
    const feed = createChangeFeed(pool);
    await withTransaction(pool, (tx) =>
      appendChanges(
        tx,
        Array.from({ length: 50 }, (_, n) => key(`p${n}`)),
        "presence",
      ),
    );
    const { revision } = await feed.head();
    await feed.prune({ ageMs: 3_600_000, rows: 20 });
    const { prunedThrough, changes } = await feed.read(0, 1_000);
    expect(prunedThrough).toBe(revision - 20);
    expect(changes).toHaveLength(20);
    expect(changes[0]?.revision).toBe(prunedThrough + 1);

    await pool.query(
      "UPDATE agent_changes SET changed_at = now() - interval '2 hours' WHERE revision <= $1",
      [revision - 5],
    );
    expect(await feed.prune({ ageMs: 3_600_000, rows: 20 })).toBe(15);
    expect(await feed.head()).toMatchObject({ revision, prunedThrough: revision - 5 });

    await pool.query("UPDATE agent_changes SET changed_at = now() - interval '2 hours'");
    await feed.prune({ ageMs: 3_600_000, rows: 20 });
    expect(await feed.head()).toMatchObject({ revision, prunedThrough: revision });
    expect(await feed.prune({ ageMs: 3_600_000, rows: 20 })).toBe(0);
  });

  it("names each agent once between two revisions", async () => {
    const feed = createChangeFeed(pool);
    const { revision: start } = await feed.head();
    const changes = ["a", "b", "a"];
    for (const agentId of changes) {
      await withTransaction(pool, (tx) => appendChanges(tx, [key(agentId)], "record"));
    }
    await withTransaction(pool, (tx) =>
      appendChanges(tx, [{ namespace: "other", agentId: "c" }], "record"),
    );
    const { revision: end } = await feed.head();
    const changed = await feed.changedBetween(start, end, "default");
    expect(changed.map(({ agentId }) => agentId)).toEqual(["b", "a"]);
    expect(await feed.changedBetween(start, end, undefined)).toHaveLength(3);
    expect(await feed.changedBetween(end, end, undefined)).toEqual([]);
  });
});

/** Draws revisions that will never be seen. */
async function rolledBack(id: number, n: number): Promise<void> {
  const attempt = withTransaction(pool, async (tx) => {
    await appendChanges(tx, [key(`r${id}-${n}`)], "record");
    throw new Error("changed my mind");
  });
  await expect(attempt).rejects.toThrow("changed my mind");
}
