/** The way of an entry from a service's own transaction to vault: once, whatever fails between. */
import { createHash } from "node:crypto";
import { createPool, type Pool, withTransaction } from "@nexus/postgres";
import { createRpcChannel, type RpcChannel } from "@nexus/rpc";
import { createTestDatabase, createTestIdentity, type TestDatabase } from "@nexus/testkit";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createBacklog } from "../src/backlog.ts";
import { type Courier, createCourier, TELL_MAX } from "../src/courier.ts";
import { insertDrafts } from "../src/draft-writer.ts";
import { ENTRY_BYTES_MAX } from "../src/quarantine.ts";
import { TestIntake } from "./_intake.ts";

const identity = createTestIdentity();
const { signal } = new AbortController();
let database: TestDatabase;
let pool: Pool;
let channel: RpcChannel;
let intake: TestIntake;
let courier: Courier;
let tooLarge = 0;
let closeIntake: () => Promise<void>;

beforeAll(async () => {
  // Any service's schema has the two tables.
  database = await createTestDatabase("registry");
  pool = createPool({ url: database.url, max: 4, applicationName: "test", schema: "registry" });
});

afterAll(async () => {
  await pool.close();
  await database.close();
});

beforeEach(async () => {
  await closeIntake?.();
  channel?.close();
  await pool.query("TRUNCATE audit_outbox");
  intake = new TestIntake();
  const { address, close } = await intake.listen(identity);
  closeIntake = close;
  channel = createRpcChannel({ address });
  courier = newCourier();
});

afterAll(async () => {
  channel.close();
  await closeIntake();
});

function newCourier(): Courier {
  const tokens = identity.tokens({ sub: "registry", kind: "service" });
  const onTooLarge = (count: number) => {
    tooLarge += count;
  };
  return createCourier({ service: "registry", pool, channel, tokens, onTooLarge });
}

const enter = (...texts: string[]) =>
  insertDrafts(
    pool,
    texts.map((text) => Buffer.from(text)),
  );

async function waiting(): Promise<number> {
  return (await pool.query("SELECT FROM audit_outbox")).rowCount;
}

describe("a courier", () => {
  it("tells vault what was committed, and forgets it", async () => {
    await enter("a", "b");
    await courier.tell(signal);
    await enter("c");
    await courier.tell(signal);
    expect(intake.taken).toEqual(["a", "b", "c"]);
    expect(await waiting()).toBe(0);
    await courier.tell(signal);
    expect(intake.calls).toBe(2);
  });

  it("tells nothing of a transaction that is not committed, and all of it once it is", async () => {
    await enter("before");
    await withTransaction(pool, async (client) => {
      await insertDrafts(client, [Buffer.from("slow")]);
      await enter("after");
      await courier.tell(signal);
      expect(intake.taken).toEqual(["before", "after"]);
    });
    await withTransaction(pool, async (client) => {
      await insertDrafts(client, [Buffer.from("never")]);
      throw new Error("rolled back");
    }).catch(() => undefined);
    await courier.tell(signal);
    expect(intake.taken).toEqual(["before", "after", "slow"]);
  });

  it("keeps everything while vault is away, for the next start of the service as well", async () => {
    await enter("a");
    intake.mood = "away";
    await expect(courier.tell(signal)).rejects.toMatchObject({ kind: "unavailable" });
    await enter("b");
    await expect(courier.tell(signal)).rejects.toMatchObject({ kind: "unavailable" });
    expect(await waiting()).toBe(2);
    intake.mood = "well";
    await newCourier().tell(signal);
    expect(intake.taken).toEqual(["a", "b"]);
    expect(await waiting()).toBe(0);
  });

  it("delivers once what was taken although the answer was lost", async () => {
    await enter("a", "b");
    intake.mood = "lost";
    await expect(courier.tell(signal)).rejects.toMatchObject({ kind: "unavailable" });
    await enter("c");
    intake.mood = "well";
    await newCourier().tell(signal);
    expect(intake.taken).toEqual(["a", "b", "c"]);
    expect(await waiting()).toBe(0);
  });

  it("delivers once although several replicas tell at the same time", async () => {
    const texts = Array.from({ length: TELL_MAX * 2 + 7 }, (_, index) => `entry ${index}`);
    await enter(...texts);
    await Promise.all([courier, newCourier(), newCourier()].map((one) => one.tell(signal)));
    // Whoever found another one at it has left the rest to it.
    await courier.tell(signal);
    expect(intake.taken).toEqual(texts);
    expect(await waiting()).toBe(0);
  });

  it("begins a stream anew when the database is an older copy of itself", async () => {
    await enter("a", "b", "c");
    await courier.tell(signal);
    await pool.query("UPDATE audit_stream SET position = position - 3");
    await enter("after the restore");
    await courier.tell(signal);
    await courier.tell(signal);
    expect(intake.taken).toEqual(["a", "b", "c", "after the restore"]);
    expect(intake.positions.size).toBe(2);
    expect(await waiting()).toBe(0);
  });

  it.each([3, 5])(
    "loses none when such a copy has %i new entries, as many as it lags or more",
    async (count) => {
      await enter("a", "b", "c");
      await courier.tell(signal);
      await pool.query("UPDATE audit_stream SET position = position - 3");
      const fresh = Array.from({ length: count }, (_, index) => `new ${index}`);
      await enter(...fresh);
      await courier.tell(signal);
      await courier.tell(signal);
      expect(intake.taken).toEqual(["a", "b", "c", ...fresh]);
      expect(await waiting()).toBe(0);
    },
  );
});

describe("an entry that vault would not take", () => {
  it("is told by its digest alone when it is too large, once, and holds up none behind it", async () => {
    const large = "x".repeat(ENTRY_BYTES_MAX + 1);
    await enter("before", large, "x".repeat(ENTRY_BYTES_MAX));
    intake.mood = "lost";
    await expect(courier.tell(signal)).rejects.toMatchObject({ kind: "unavailable" });
    intake.mood = "well";
    await enter("behind");
    await newCourier().tell(signal);
    const [before, notice, largest, ...behind] = intake.taken;
    expect([before, largest?.length, ...behind]).toEqual(["before", ENTRY_BYTES_MAX, "behind"]);
    const sha256 = createHash("sha256").update(large).digest("hex");
    expect(notice).toContain("registry:quarantined-entry");
    expect(notice).toContain(sha256);
    expect(intake.positions.size).toBe(1);
    expect(await waiting()).toBe(0);
    expect(tooLarge).toBe(1);
  });

  it("is not among entries that together are more than a message holds", async () => {
    const texts = Array.from({ length: 200 }, (_, index) =>
      `${index} `.repeat(8000).slice(0, 30_000),
    );
    await enter(...texts);
    await courier.tell(signal);
    expect(intake.taken).toEqual(texts);
    expect(intake.calls).toBe(3);
    expect(await waiting()).toBe(0);
  });
});

describe("a backlog", () => {
  it("has room until as many wait as may, and again when they were told", async () => {
    const backlog = createBacklog(pool, 3);
    await enter("a", "b");
    await backlog.look();
    expect(() => backlog.assertRoom()).not.toThrow();
    await enter("c");
    await backlog.look();
    expect(() => backlog.assertRoom()).toThrow(/audit log cannot be written/);
    await courier.tell(signal);
    await backlog.look();
    expect(backlog.waiting).toBe(0);
    expect(() => backlog.assertRoom()).not.toThrow();
  });
});
