import { randomBytes } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "@nexus/devkit";
import { createPool, isRetryableConnectionError, type Pool } from "@nexus/postgres";
import { waitFor } from "@nexus/testkit";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type OpenDatabase, openDatabase } from "./_database.ts";

let open: OpenDatabase;

beforeAll(async () => {
  open = await openDatabase({ statementTimeoutMs: 200 });
});

afterAll(async () => {
  await open.close();
});

describe("createPool", () => {
  it("sets search_path, application name and timeouts for every session", async () => {
    const { rows } = await open.pool.query(
      `SELECT current_setting('search_path') AS path, current_setting('application_name') AS name,
              current_setting('statement_timeout') AS statement,
              current_setting('idle_in_transaction_session_timeout') AS idle`,
    );
    expect(rows).toEqual([
      { path: "public", name: "postgres-test", statement: "200ms", idle: "30s" },
    ]);
  });

  it("has no plan compiled, although its database says so", async () => {
    const own = await openDatabase({ max: 1 });
    await own.pool.query(
      "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET jit = on', current_database()); END $$",
    );
    const options = { max: 1, applicationName: "t", schema: "public" };
    const pool = createPool({ url: own.database.url, ...options });
    const { rows } = await pool.query("SELECT current_setting('jit') AS jit");
    expect(rows).toEqual([{ jit: "off" }]);
    await pool.close();
    await own.close();
  });

  it("refuses a schema that is not a plain identifier", () => {
    const options = { url: "postgres://localhost/x", max: 1, applicationName: "x" };
    expect(() => createPool({ ...options, schema: "a, pg_catalog" })).toThrow(TypeError);
  });

  it("ends a statement that outlives its timeout with deadline", async () => {
    await expect(open.pool.query("SELECT pg_sleep(2)")).rejects.toMatchObject({
      kind: "deadline",
      reason: "DATABASE_TIMEOUT",
    });
    await expect(open.pool.query("SELECT 1 AS one")).resolves.toMatchObject({ rowCount: 1 });
  });

  it("keeps the connection after a refused statement", async () => {
    const pid = async () => (await open.pool.query("SELECT pg_backend_pid() AS pid")).rows[0];
    const before = await pid();
    await expect(open.pool.query("SELECT * FROM no_such_table")).rejects.toMatchObject({
      kind: "internal",
      reason: "DATABASE_ERROR",
      message: expect.not.stringContaining("no_such_table"),
    });
    expect(await pid()).toEqual(before);
  });

  it("counts its connections and waits for no more than the connection timeout", async () => {
    const small = await openDatabase({ max: 1, connectionTimeoutMs: 100 });
    const held = await small.pool.connect();
    const second = small.pool.query("SELECT 1");
    expect(small.pool.stats()).toEqual({ total: 1, idle: 0, waiting: 1, max: 1 });
    await expect(second).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
    held.release();
    held.release();
    await expect(small.pool.query("SELECT 1")).resolves.toMatchObject({ rowCount: 1 });
    await small.close();
  });

  it("closes within its grace although a client is never given back", async () => {
    const leaky = await openDatabase();
    const held = await leaky.pool.connect();
    const running = held.query("SELECT pg_sleep(30)");
    const refused = running.catch((error: unknown) => error);
    await leaky.pool.close(50);
    expect(await refused).toMatchObject({ kind: "unavailable" });
    await expect(leaky.pool.query("SELECT 1")).rejects.toMatchObject({ kind: "unavailable" });
    await leaky.close();
  });
});

describe("createPool on a server that comes and goes", () => {
  let server: EmbeddedPostgres;
  let pool: Pool;

  beforeAll(async () => {
    server = await startEmbeddedPostgres({
      dataDir: join(tmpdir(), `nexus-test-${randomBytes(8).toString("hex")}`),
      durable: false,
      removeWhenDone: true,
    });
  });

  afterEach(async () => {
    await pool.close();
  });

  afterAll(async () => {
    await server.stop();
  });

  function poolOf(connectionTimeoutMs: number): Pool {
    const { url } = server;
    return createPool({ url, max: 3, applicationName: "t", schema: "public", connectionTimeoutMs });
  }

  it("reports a lost connection as unavailable and answers after the restart", async () => {
    pool = poolOf(20_000);
    const running = pool.query("SELECT pg_sleep(30)").catch((error: unknown) => error);
    await waitFor(
      async () => {
        const text = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        return (await pool.query(text)).rowCount === 1;
      },
      { what: "the sleeping statement" },
    );
    await server.kill();
    expect(await running).toMatchObject({ kind: "unavailable", reason: "DATABASE_UNAVAILABLE" });
    // A connection that is lost but not yet known to be would fail the next statement, and rightly so.
    await waitFor(() => pool.stats().total === 0, { what: "the pool to notice" });
    const [whileAway] = await Promise.all([pool.query("SELECT 1"), server.restart()]);
    expect(whileAway).toMatchObject({ rowCount: 1 });
  });

  it("survives the loss of a client that is checked out and idle", async () => {
    pool = poolOf(10_000);
    const client = await pool.connect();
    await client.query("SELECT 1");
    await server.restart();
    const failure = await client.query("SELECT 1").catch((error: unknown) => error);
    expect(isRetryableConnectionError(failure)).toBe(true);
    client.release();
    await expect(pool.query("SELECT 1")).resolves.toMatchObject({ rowCount: 1 });
  });

  it("gives up with unavailable when the server stays away", async () => {
    pool = poolOf(200);
    await server.kill();
    await expect(pool.query("SELECT 1")).rejects.toMatchObject({ kind: "unavailable" });
    await server.restart();
  });
});
