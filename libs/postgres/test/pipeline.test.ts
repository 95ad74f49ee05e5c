import {
  createPool,
  OpenTransaction,
  type PipelinedClient,
  type Pool,
  type PoolClient,
  sqlStateOf,
  together,
  withTransaction,
} from "@nexus/postgres";
import { TcpProxy } from "@nexus/testkit";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type OpenDatabase, openDatabase } from "./_database.ts";

const TAKE = { name: "take", text: "INSERT INTO taken (id) VALUES ($1) RETURNING id" };
const COUNT = { name: "count", text: "SELECT count(*)::int AS count FROM taken" };

let open: OpenDatabase;
let client: PoolClient;
let pipelined: PipelinedClient;

beforeAll(async () => {
  open = await openDatabase();
  await open.pool.query("CREATE TABLE taken (id int PRIMARY KEY)");
});

beforeEach(async () => {
  await open.pool.query("TRUNCATE taken CASCADE");
  client = await open.pool.connect();
  ({ pipelined } = client);
});

afterEach(() => {
  client.release(true);
});

afterAll(async () => {
  await open.close();
});

async function failureOf(statement: Promise<unknown>): Promise<unknown> {
  return statement.then(
    () => undefined,
    (error: unknown) => error,
  );
}

async function stored(): Promise<unknown> {
  return (await open.pool.query(COUNT)).rows;
}

describe("statements that are begun in one turn", () => {
  it("run in order, and each has its own answer", async () => {
    const answers = await together(
      pipelined.query("BEGIN"),
      pipelined.query(TAKE, [1]),
      pipelined.query("DELETE FROM taken WHERE id = 7"),
      pipelined.query(TAKE, [2]),
      pipelined.query(COUNT),
      pipelined.query("COMMIT"),
    );
    expect(answers.map(({ command, rowCount, rows }) => [command, rowCount, rows])).toEqual([
      ["BEGIN", 0, []],
      ["INSERT", 1, [{ id: 1 }]],
      ["DELETE", 0, []],
      ["INSERT", 1, [{ id: 2 }]],
      ["SELECT", 1, [{ count: 2 }]],
      ["COMMIT", 0, []],
    ]);
  });

  it("are not run behind one that fails, and have its error", async () => {
    await pipelined.query("BEGIN");
    const failures = await Promise.all([
      failureOf(pipelined.query("SELECT 1 / 0")),
      failureOf(pipelined.query(TAKE, [1])),
      failureOf(pipelined.query("COMMIT")),
    ]);
    expect(failures.map(sqlStateOf)).toEqual(["22012", "22012", "22012"]);
    expect((await client.query("ROLLBACK")).command).toBe("ROLLBACK");
    expect(await stored()).toEqual([{ count: 0 }]);
  });

  it("may be begun again by name after one in front of them failed", async () => {
    const failing = failureOf(pipelined.query("SELECT 1 / 0"));
    const behind = failureOf(pipelined.query(COUNT));
    await Promise.all([failing, behind]);
    expect(await pipelined.query(COUNT)).toMatchObject({ rows: [{ count: 0 }] });
    expect(await pipelined.query(COUNT)).toMatchObject({ rows: [{ count: 0 }] });
  });

  it("are sent without one whose parameters cannot be", async () => {
    const circle: { self?: unknown } = {};
    circle.self = circle;
    const [before, failure, after] = await Promise.all([
      pipelined.query(COUNT),
      failureOf(pipelined.query({ name: "unsent", text: "SELECT $1::json" }, [circle])),
      pipelined.query(TAKE, [1]),
    ]);
    expect(failure).toMatchObject({ kind: "internal" });
    expect([before.rows, after.rows]).toEqual([[{ count: 0 }], [{ id: 1 }]]);
    const again = await pipelined.query({ name: "unsent", text: "SELECT $1::json AS it" }, ["{}"]);
    expect(again.rows).toEqual([{ it: {} }]);
  });

  it("leave before one that is sent alone", async () => {
    const taken = pipelined.query(TAKE, [1]);
    const counted = client.query(COUNT);
    expect((await counted).rows).toEqual([{ count: 1 }]);
    await taken;
  });

  it("wait while somebody holds them, and take with them what is begun meanwhile", async () => {
    await pipelined.query("BEGIN");
    const letGo = pipelined.hold();
    const failing = failureOf(pipelined.query("SELECT 1 / 0"));
    await open.pool.query("SELECT 1");
    const later = failureOf(pipelined.query(TAKE, [1]));
    letGo();
    expect([await failing, await later].map(sqlStateOf)).toEqual(["22012", "22012"]);
  });

  it("have the columns that they had before, or fail", async () => {
    const read = { name: "read-taken", text: "SELECT * FROM taken" };
    await pipelined.query(TAKE, [1]);
    const both = await together(pipelined.query(read), client.query(read));
    expect(both.map(({ rows }) => rows)).toEqual([[{ id: 1 }], [{ id: 1 }]]);
    await open.pool.query("ALTER TABLE taken ADD COLUMN more text");
    const failure = await failureOf(pipelined.query(read));
    await open.pool.query("ALTER TABLE taken DROP COLUMN more");
    expect(failure).toMatchObject({ reason: "DATABASE_ERROR" });
  });

  it("are refused under the name of another, answered or not", async () => {
    const count = pipelined.query(COUNT);
    const other = { ...COUNT, text: "SELECT 1" };
    expect(await failureOf(pipelined.query(other))).toMatchObject({ kind: "internal" });
    expect((await count).rows).toEqual([{ count: 0 }]);
    expect(await failureOf(pipelined.query(other))).toMatchObject({ kind: "internal" });
  });

  it("all fail with the connection", async () => {
    const { rows } = await client.query<{ pid: number }>("SELECT pg_backend_pid() AS pid");
    const waiting = [
      failureOf(pipelined.query("SELECT pg_sleep(5)")),
      failureOf(pipelined.query(COUNT)),
    ];
    await open.pool.query("SELECT pg_terminate_backend($1)", [rows[0]?.pid]);
    for (const failure of waiting) expect(await failure).toMatchObject({ kind: "unavailable" });
    const after = failureOf(pipelined.query(COUNT));
    expect(await after).toMatchObject({ kind: "unavailable" });
  });
});

describe("a statement that is alone", () => {
  it("is answered when it is stored: what its commit refuses has failed", async () => {
    await open.pool.query(
      "CREATE TABLE late (id int REFERENCES taken (id) DEFERRABLE INITIALLY DEFERRED)",
    );
    const failure = await failureOf(open.pool.query("INSERT INTO late VALUES ($1)", [1]));
    expect(sqlStateOf(failure)).toBe("23503");
    const inTransaction = withTransaction(open.pool, async (tx) => {
      await tx.query("INSERT INTO late VALUES ($1)", [1]);
    });
    expect(sqlStateOf(await failureOf(inTransaction))).toBe("23503");
  });

  it("may have a longer time for its answer than the others", async () => {
    const impatient = await openDatabase({ statementTimeoutMs: 100 });
    const held = await impatient.pool.connect();
    await held.query("SET statement_timeout = 0");
    // A pool gives the server 5 s more than the statement's timeout.
    const sleep = { text: "SELECT pg_sleep($1)", values: [5.3], readTimeoutMs: 20_000 };
    await expect(held.query(sleep)).resolves.toMatchObject({ rowCount: 1 });
    held.release();
    await impatient.close();
  });
});

/** Asks for an answer that never comes, and then whether the pool goes on with another connection. */
async function swallow(ask: (pool: Pool) => Promise<unknown>): Promise<unknown> {
  const proxy = await TcpProxy.listen();
  const url = new URL(open.database.url);
  proxy.aim(Number(url.port));
  url.port = String(proxy.port);
  const options = { max: 1, applicationName: "test", schema: "public" };
  const pool = createPool({ url: url.href, ...options, statementTimeoutMs: 100 });
  await pool.query(COUNT);
  proxy.delay();
  const failure = await failureOf(ask(pool));
  proxy.pass();
  expect((await pool.query(COUNT)).rows).toEqual([{ count: 0 }]);
  await pool.close();
  await proxy.close();
  return failure;
}

it("an answer that the network swallows is given up 5 s behind the time of a statement, with its connection", async () => {
  const fromMs = performance.now();
  const failures = await Promise.all([
    swallow((pool) => pool.query(COUNT)),
    swallow((pool) => pool.query("SELECT 1")),
    swallow((pool) => withTransaction(pool, (tx) => tx.commitWith(tx.query(COUNT)))),
  ]);
  expect(performance.now() - fromMs).toBeGreaterThan(5_000);
  expect(failures).toMatchObject([
    { reason: "DATABASE_UNAVAILABLE" },
    { reason: "DATABASE_UNAVAILABLE" },
    { reason: "COMMIT_OUTCOME_UNKNOWN" },
  ]);
});

describe("a transaction whose BEGIN failed", () => {
  it("stores nothing of what follows", async () => {
    await client.query("BEGIN");
    await failureOf(client.query("SELECT 1 / 0"));
    // In a transaction that has failed the server refuses whatever is not its end.
    const transaction = new OpenTransaction(client);
    await failureOf(transaction.begin("read committed"));
    await client.query("ROLLBACK");
    expect(await failureOf(transaction.query(TAKE, [1]))).toMatchObject({ kind: "internal" });
    expect(await failureOf(transaction.commit())).toMatchObject({ kind: "internal" });
    expect(await transaction.outcome()).toBe("aborted");
    expect(await stored()).toEqual([{ count: 0 }]);
  });

  it("stores nothing of what is begun before it is known to have failed", async () => {
    const transaction = new OpenTransaction(client);
    const begun = failureOf(transaction.begin("no such" as "serializable"));
    await new Promise((resolve) => setImmediate(resolve));
    const taken = failureOf(transaction.query(TAKE, [1]));
    const committed = failureOf(transaction.commit());
    const failures = await Promise.all([begun, taken, committed]);
    expect(failures.map(sqlStateOf)).toEqual(["42601", "42601", "42601"]);
    expect(await stored()).toEqual([{ count: 0 }]);
  });
});

describe("a transaction that is one turn long", () => {
  it("is one unit, COMMIT included", async () => {
    const transaction = new OpenTransaction(client);
    const begun = transaction.begin("read committed");
    const committed = transaction.commitWith(
      transaction.query(TAKE, [1]),
      transaction.query("SELECT 1 / 0"),
    );
    expect(sqlStateOf(await failureOf(committed))).toBe("22012");
    await begun;
    // Had it left by itself, the server would have answered it with ROLLBACK.
    expect(sqlStateOf(await failureOf(transaction.commit()))).toBe("22012");
    expect(await transaction.outcome()).toBe("aborted");
  });
});
