import {
  createPool,
  mapPgError,
  type Pool,
  type PoolClient,
  sqlStateOf,
  withTransaction,
} from "@nexus/postgres";
import { NexusError } from "@nexus/shared";
import { TcpProxy } from "@nexus/testkit";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type OpenDatabase, openDatabase } from "./_database.ts";

let open: OpenDatabase;

beforeAll(async () => {
  open = await openDatabase();
  await open.pool.query("CREATE TABLE parents (id int CONSTRAINT parents_pk PRIMARY KEY)");
  await open.pool.query(
    `CREATE TABLE accounts (
       id int CONSTRAINT accounts_pk PRIMARY KEY,
       parent int CONSTRAINT accounts_parent_fk REFERENCES parents (id),
       balance int NOT NULL CONSTRAINT accounts_balance_positive CHECK (balance >= 0)
     )`,
  );
});

beforeEach(async () => {
  await open.pool.query("TRUNCATE accounts, parents");
  await open.pool.query("INSERT INTO accounts (id, balance) VALUES (1, 100), (2, 100)");
});

afterAll(async () => {
  await open.close();
});

/** Every connection is back, and usable, as the next statement shows. */
function expectAllIdle(): void {
  const { idle, total } = open.pool.stats();
  expect(idle).toBe(total);
}

async function balances(): Promise<unknown[]> {
  const { rows } = await open.pool.query("SELECT balance FROM accounts ORDER BY id");
  return rows.map((row) => row["balance"]);
}

describe("withTransaction", () => {
  it("commits what the function did and returns its value", async () => {
    const value = await withTransaction(open.pool, async (client) => {
      await client.query("UPDATE accounts SET balance = 50 WHERE id = 1");
      return "done";
    });
    expect(value).toBe("done");
    expect(await balances()).toEqual([50, 100]);
  });

  it("rolls back and passes the error on as it is", async () => {
    const failure = new NexusError({ kind: "not_found", reason: "X", message: "no" });
    const run = withTransaction(open.pool, async (client) => {
      await client.query("UPDATE accounts SET balance = 50 WHERE id = 1");
      throw failure;
    });
    await expect(run).rejects.toBe(failure);
    expect(await balances()).toEqual([100, 100]);
    expectAllIdle();
  });

  it("repeats a serialization failure until it succeeds, without losing an update", async () => {
    let runs = 0;
    let bothHaveRead = () => undefined as void;
    const clash = new Promise<void>((resolve) => {
      bothHaveRead = resolve;
    });
    const add = () =>
      withTransaction(
        open.pool,
        async (client) => {
          runs += 1;
          const run = runs;
          const { rows } = await client.query("SELECT balance FROM accounts WHERE id = 1");
          // The first two write what they read at the same time, however slow the machine is.
          if (run === 2) bothHaveRead();
          if (run === 1) await clash;
          const next = Number(rows[0]?.["balance"]) + 1;
          await client.query("UPDATE accounts SET balance = $1 WHERE id = 1", [next]);
        },
        { isolation: "serializable", retries: 20 },
      );
    await Promise.all(Array.from({ length: 8 }, add));
    expect(await balances()).toEqual([108, 100]);
    expect(runs).toBeGreaterThan(8);
  });

  it("gives up with conflict when the retries are used up", async () => {
    let runs = 0;
    const clash = withTransaction(
      open.pool,
      async (client) => {
        runs += 1;
        await client.query("SELECT balance FROM accounts WHERE id = 1");
        await open.pool.query("UPDATE accounts SET balance = balance + 1 WHERE id = 1");
        await client.query("UPDATE accounts SET balance = 0 WHERE id = 1");
      },
      { isolation: "repeatable read", retries: 2 },
    );
    await expect(clash).rejects.toMatchObject({
      kind: "conflict",
      reason: "SERIALIZATION_FAILURE",
    });
    expect(runs).toBe(3);
  });

  it("repeats the victim of a deadlock", async () => {
    const move = (from: number, to: number) =>
      withTransaction(open.pool, async (client) => {
        await client.query("UPDATE accounts SET balance = balance - 1 WHERE id = $1", [from]);
        await client.query("SELECT pg_sleep(0.1)");
        await client.query("UPDATE accounts SET balance = balance + 1 WHERE id = $1", [to]);
      });
    await Promise.all([move(1, 2), move(2, 1)]);
    expect(await balances()).toEqual([100, 100]);
  });

  it("does not report success when the function swallowed a failed statement", async () => {
    const run = withTransaction(open.pool, async (client) => {
      await client.query("UPDATE accounts SET balance = 50 WHERE id = 1");
      await client.query("SELECT * FROM nowhere").catch(() => undefined);
    });
    await expect(run).rejects.toMatchObject({ reason: "TRANSACTION_ABORTED" });
    expect(await balances()).toEqual([100, 100]);
  });

  it("reports a connection lost inside the transaction as unavailable", async () => {
    const run = withTransaction(open.pool, async (client) => {
      const { rows } = await client.query("SELECT pg_backend_pid() AS pid");
      await open.pool.query("SELECT pg_terminate_backend($1)", [rows[0]?.["pid"]]);
      await client.query("SELECT 1");
    });
    await expect(run).rejects.toMatchObject({ kind: "unavailable" });
    await expect(balances()).resolves.toEqual([100, 100]);
  });
});

/** A pool whose connections lose the answer to COMMIT in this way. */
function losingAnswers(pool: Pool, error: Error): Pool {
  const lose = (client: PoolClient): PoolClient => ({
    query: client.query,
    release: client.release,
    pipelined: {
      hold: client.pipelined.hold,
      query: async (statement, values) => {
        const answer = await client.pipelined.query<never>(statement, values);
        if (answer.command === "COMMIT") throw mapPgError(error);
        return answer;
      },
    },
  });
  return { ...pool, connect: async () => lose(await pool.connect()) };
}

describe("a COMMIT without an answer", () => {
  it.each([
    Object.assign(new Error("bad record"), { code: "ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC" }),
    Object.assign(new Error("reset"), { code: "ECONNRESET" }),
    new Error("whatever a later driver says"),
  ])("may have happened, whatever hit the connection: %s", async (error) => {
    const run = withTransaction(losingAnswers(open.pool, error), async () => "done");
    await expect(run).rejects.toMatchObject({ reason: "COMMIT_OUTCOME_UNKNOWN" });
  });
});

describe("mapPgError", () => {
  async function failureOf(text: string): Promise<unknown> {
    return open.pool.query(text).catch((error: unknown) => error);
  }

  it("maps violated constraints by kind, and by name where the store gives a meaning", async () => {
    const duplicate = await failureOf("INSERT INTO accounts (id, balance) VALUES (1, 1)");
    expect(duplicate).toMatchObject({ kind: "exists", reason: "ALREADY_EXISTS" });
    const named = mapPgError(duplicate, {
      accounts_pk: { kind: "exists", reason: "ACCOUNT_EXISTS", message: "the account exists" },
    });
    expect(named).toMatchObject({ reason: "ACCOUNT_EXISTS", message: "the account exists" });
    const orphan = await failureOf("INSERT INTO accounts VALUES (3, 9, 1)");
    expect(orphan).toMatchObject({ kind: "precondition", reason: "REFERENCE_MISSING" });
    const negative = await failureOf("UPDATE accounts SET balance = -1");
    expect(negative).toMatchObject({ kind: "internal", reason: "DATABASE_ERROR" });
    const overdrawn = mapPgError(negative, {
      accounts_balance_positive: { kind: "precondition", reason: "OVERDRAWN", message: "empty" },
    });
    expect(overdrawn).toMatchObject({ kind: "precondition", reason: "OVERDRAWN" });
  });

  it("maps text that Postgres cannot store to invalid", async () => {
    const failure = await open.pool.query("SELECT $1::text", ["a\0b"]).catch((e: unknown) => e);
    expect(failure).toMatchObject({ kind: "invalid", reason: "TEXT_NOT_STORABLE" });
  });

  it("keeps SQL text and row values out of the message and out of the logged cause", async () => {
    const failure = await failureOf(
      "INSERT INTO accounts (id, parent, balance) VALUES (3, 987654, 1)",
    );
    const shown = JSON.stringify([failure, (failure as Error).message, (failure as Error).cause]);
    expect(shown).not.toContain("987654");
    expect(shown).not.toContain("INSERT");
    expect((failure as Error).cause).toMatchObject({ constraint: "accounts_parent_fk" });
  });

  it("leaves errors that are not Postgres's as internal", () => {
    expect(mapPgError(new Error("boom"))).toMatchObject({ kind: "internal", reason: "INTERNAL" });
  });
});

describe("a COMMIT that leaves with the last statements", () => {
  it("stores them", async () => {
    const value = await withTransaction(open.pool, async (client) => {
      const update = client.query("UPDATE accounts SET balance = 50 WHERE id = 1");
      const [{ rowCount }] = await client.commitWith(update);
      return rowCount;
    });
    expect(value).toBe(1);
    expect(await balances()).toEqual([50, 100]);
  });

  it("stores nothing when one of them fails, whose error it is", async () => {
    const run = withTransaction(open.pool, async (client) => {
      await client.commitWith(
        client.query("UPDATE accounts SET balance = 50 WHERE id = 1"),
        client.query("UPDATE accounts SET balance = -1 WHERE id = 2"),
      );
    });
    await expect(run).rejects.toSatisfy((error) => sqlStateOf(error) === "23514");
    expect(await balances()).toEqual([100, 100]);
    expectAllIdle();
  });

  it("stores nothing when one of them fails before it is sent", async () => {
    const failure = new Error("the parameters could not be made");
    const prepare = async (): Promise<number> => {
      await Promise.resolve();
      throw failure;
    };
    const run = withTransaction(open.pool, async (client) => {
      const make = async () => client.query("SELECT $1::int", [await prepare()]);
      const update = client.query("UPDATE accounts SET balance = 50 WHERE id = 1");
      await client.commitWith(update, make());
    });
    await expect(run).rejects.toBe(failure);
    expect(await balances()).toEqual([100, 100]);
    expectAllIdle();
  });

  it("lets nothing follow, and says that it may have been stored", async () => {
    const run = withTransaction(open.pool, async (client) => {
      const update = client.query("UPDATE accounts SET balance = 50 WHERE id = 1");
      await client.commitWith(update);
      await client.query("UPDATE accounts SET balance = 0 WHERE id = 2");
    });
    await expect(run).rejects.toMatchObject({
      kind: "unavailable",
      reason: "COMMIT_OUTCOME_UNKNOWN",
    });
    expect(await balances()).toEqual([50, 100]);
  });

  it("may have been stored when the connection breaks before the answer", async () => {
    const proxy = await TcpProxy.listen();
    const url = new URL(open.database.url);
    proxy.aim(Number(url.port));
    url.port = String(proxy.port);
    const pool = createPool({ url: url.href, max: 1, applicationName: "test", schema: "public" });
    const run = withTransaction(pool, async (client) => {
      await client.query("UPDATE accounts SET balance = 50 WHERE id = 1");
      proxy.cut();
      await client.commitWith(client.query("UPDATE accounts SET balance = 60 WHERE id = 2"));
    });
    await expect(run).rejects.toMatchObject({
      kind: "unavailable",
      reason: "COMMIT_OUTCOME_UNKNOWN",
    });
    await pool.close();
    await proxy.close();
  });

  it("was not stored when the server ended the connection at a statement before it", async () => {
    const run = withTransaction(open.pool, async (client) => {
      const { rows } = await client.query<{ pid: number }>("SELECT pg_backend_pid() AS pid");
      const ended = open.pool.query("SELECT pg_terminate_backend($1)", [rows[0]?.pid]);
      await client.commitWith(client.query("SELECT pg_sleep(5)"), ended);
    });
    await expect(run).rejects.toSatisfy((error) => sqlStateOf(error) === "57P01");
    await expect(run).rejects.not.toMatchObject({ reason: "COMMIT_OUTCOME_UNKNOWN" });
  });

  it("is not made again when it may have been stored, whatever failed behind it", async () => {
    let runs = 0;
    const run = withTransaction(open.pool, async (client) => {
      runs += 1;
      await client.commitWith(client.query("UPDATE accounts SET balance = 50 WHERE id = 1"));
      await open.pool.query("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40001'; END $$");
    });
    await expect(run).rejects.toMatchObject({ reason: "COMMIT_OUTCOME_UNKNOWN" });
    expect(runs).toBe(1);
  });
});
