import { type Pool, type PoolClient, withTransaction } from "@nexus/postgres";
import { createSilentLogger } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SHARDS } from "../src/domain/shards.ts";
import type { Engine } from "../src/engine/engine.ts";
import type { Ledger } from "../src/engine/ledger.ts";
import { RingKeeper } from "../src/engine/ring-keeper.ts";
import { keepRing } from "../src/loops/upkeep-loops.ts";
import {
  expelExpired,
  giveShards,
  joinRing,
  leaveRing,
  readRing,
  renewLease,
  replaceEarlier,
  takeShards,
} from "../src/store/replica-store.ts";
import { assertHolding, openWriterSession } from "../src/store/writer-session.ts";
import { type OpenDatabase, openDatabase } from "./_database.ts";
import { expectError } from "./_expect.ts";

let open: OpenDatabase;
let pool: Pool;

beforeEach(async () => {
  open = await openDatabase();
  pool = open.pool;
});
afterEach(() => open.close());

function join(replicaId: string, leaseMs = 60_000) {
  return joinRing(pool, { replicaId, name: replicaId, address: `${replicaId}:7402`, leaseMs });
}

/** Ends a lease as time would. */
async function expire(replicaId: string): Promise<void> {
  const text = "UPDATE replicas SET expires_at = now() - interval '1 ms' WHERE replica_id = $1";
  await pool.query(text, [replicaId]);
}

describe("the ring", () => {
  it("hands every shard to one replica at a time, with a higher epoch at each taking", async () => {
    await join("a");
    await join("b");
    const [first, second] = await Promise.all([
      takeShards(pool, "a", 40),
      takeShards(pool, "b", 40),
    ]);
    expect(first.size + second.size).toBe(SHARDS);
    expect(new Set([...first.keys(), ...second.keys()]).size).toBe(SHARDS);
    const [shard, epoch] = [...first][0] as [number, bigint];
    expect(await giveShards(pool, "a", [shard])).toEqual(new Map());
    const again = await takeShards(pool, "b", SHARDS);
    expect([...again]).toEqual([[shard, epoch + 1n]]);
    const ring = await readRing(pool);
    expect(ring.owners.get(shard)).toBe("b");
    expect(ring.replicas.get("b")).toBe("b:7402");
  });

  it("frees the shards of a replica that leaves, is replaced, or is put out after its lease", async () => {
    for (const end of [
      () => leaveRing(pool, "a"),
      () => replaceEarlier(pool, "a"),
      async () => {
        expect(await expelExpired(pool)).toEqual([]);
        await expire("a");
        expect(await expelExpired(pool)).toEqual(["a"]);
      },
    ]) {
      await join("a");
      expect((await takeShards(pool, "a", SHARDS)).size).toBe(SHARDS);
      await end();
      expect((await readRing(pool)).owners.size).toBe(0);
      expect(await renewLease(pool, "a", 1_000)).toBe(false);
    }
  });

  it("lets a replica that comes back keep its shards under new epochs", async () => {
    await join("a");
    const taken = await takeShards(pool, "a", 2);
    const back = await join("a");
    expect(new Set(back.keys())).toEqual(new Set(taken.keys()));
    for (const [shard, epoch] of taken) expect(back.get(shard)).toBe(epoch + 1n);
    await expectNotHeld(assertHolding(pool, { replicaId: "a", shards: taken }));
    await assertHolding(pool, { replicaId: "a", shards: back });
  });
});

async function expectNotHeld(work: Promise<unknown> | undefined): Promise<void> {
  await expectError(work ?? Promise.resolve(), "unavailable", "NOT_OWNER");
}

describe("a transaction that holds its replica", () => {
  it("is not overtaken by whoever puts the replica out, and is the last that may write", async () => {
    await join("old");
    const shards = await takeShards(pool, "old", SHARDS);
    await expire("old");
    const order: string[] = [];
    let takeover: Promise<unknown> | undefined;
    await withTransaction(pool, async (client) => {
      await assertHolding(client, { replicaId: "old", shards });
      takeover = waitFor(async () => (await expelExpired(pool)).length > 0, {
        what: "the old one to be put out",
      }).then(() => order.push("put out"));
      // It has looked, and found the row held.
      expect(await expelExpired(pool)).toEqual([]);
      order.push("old commit");
    });
    await takeover;
    expect(order).toEqual(["old commit", "put out"]);
    await expectNotHeld(assertHolding(pool, { replicaId: "old", shards }));
  });

  it("is waited for by its own replica when that comes back after a lost connection", async () => {
    await join("a");
    const shards = await takeShards(pool, "a", SHARDS);
    const order: string[] = [];
    const client: PoolClient = await pool.connect();
    await client.query("BEGIN");
    await assertHolding(client, { replicaId: "a", shards });
    const back = withTransaction(pool, (other) =>
      joinRing(other, { replicaId: "a", name: "a", address: "a:1", leaseMs: 60_000 }),
    ).then(() => order.push("back"));
    await waitFor(
      async () => {
        const { rows } = await pool.query<{ n: number }>(
          "SELECT count(*)::int AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
        );
        return (rows[0]?.n ?? 0) > 0;
      },
      { what: "the return to wait" },
    );
    order.push("commit");
    await client.query("COMMIT");
    client.release();
    await back;
    expect(order).toEqual(["commit", "back"]);
  });
});

describe("a transaction that waits for its replica's return", () => {
  it("is refused with the epochs from before, however it began", async () => {
    await join("a");
    const shards = await takeShards(pool, "a", SHARDS);
    let late: Promise<void> | undefined;
    await withTransaction(pool, async (client) => {
      await joinRing(client, { replicaId: "a", name: "a", address: "a:1", leaseMs: 60_000 });
      late = withTransaction(pool, (other) => assertHolding(other, { replicaId: "a", shards }));
      late.catch(() => undefined);
      await waitFor(
        async () => {
          const { rows } = await pool.query<{ n: number }>(
            "SELECT count(*)::int AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
          );
          return (rows[0]?.n ?? 0) > 0;
        },
        { what: "the late one to wait" },
      );
    });
    await expectNotHeld(late);
  });
});

describe("a writer session", () => {
  it("rolls a failed transaction back and goes on", async () => {
    const session = await openWriterSession(pool);
    const failing = session.transaction(async (client) => {
      await client.query("CREATE TABLE half (x int)");
      await client.query("SELECT 1 / 0");
    });
    await expectError(failing, "internal", "DATABASE_ERROR");
    const found = await session.transaction((client) =>
      client.query<{ t: string | null }>("SELECT to_regclass('half')::text AS t"),
    );
    expect(found.rows).toEqual([{ t: null }]);
    session.close();
  });

  it("is lost when what it does fails behind its own COMMIT: memory has not followed", async () => {
    const session = await openWriterSession(pool);
    const failing = session.transaction(async (client) => {
      await client.commitWith(client.query("CREATE TABLE whole (x int)"));
      throw new Error("what came back could not be read");
    });
    await expectNotHeld(failing);
    expect(session.lost).toBe(true);
    const { rows } = await pool.query("SELECT to_regclass('whole')::text AS t");
    expect(rows).toEqual([{ t: "whole" }]);
  });

  it("writes nothing once it is closed", async () => {
    const session = await openWriterSession(pool);
    session.close();
    await expectError(
      session.transaction(() => Promise.resolve()),
      "unavailable",
      "NOT_OWNER",
    );
    await expectError(session.ping(), "unavailable", "NOT_OWNER");
    expect(session.lost).toBe(true);
  });
});

describe("a replica that looks at the ring", () => {
  it("has at its next look what a silent one owned, once that one's lease is over; it looks twice a second", async () => {
    await join("silent");
    await takeShards(pool, "silent", SHARDS);
    await join("next");
    const shards = new Map<number, bigint>();
    const take = async (limit: number) => {
      const taken = await takeShards(pool, "next", limit);
      for (const [shard, epoch] of taken) shards.set(shard, epoch);
      return taken.size;
    };
    const clock = { nowMs: 0 };
    const keeper = new RingKeeper({
      pool,
      ledger: { ownership: "owner", shards, take } as unknown as Ledger,
      replicaId: "next",
      leaseMs: 60_000,
      untilWritten: () => Promise.resolve(),
      nowMs: () => clock.nowMs,
      logger: createSilentLogger(),
    });
    await keeper.renew();
    clock.nowMs += 60_000;
    await keeper.renew();
    await keeper.step();
    expect(shards.size).toBe(0);
    await expire("silent");
    await keeper.step();
    expect(shards.size).toBe(SHARDS);
    const { owners, replicas } = await readRing(pool);
    expect([new Set(owners.values()), [...replicas.keys()]]).toEqual([new Set(["next"]), ["next"]]);
    expect(keepRing({} as Engine, 3_000).intervalMs).toBe(500);
  });
});
