import { once } from "node:events";
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createPool, migrate, type Pool } from "@nexus/postgres";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type OpenDatabase, openDatabase } from "./_database.ts";

let open: OpenDatabase;
let pool: Pool;
let directory: string;

beforeEach(async () => {
  open = await openDatabase();
  pool = open.pool;
  directory = await mkdtemp(join(tmpdir(), "nexus-migrations-"));
  await write("0001-create-agents.sql", "CREATE TABLE agents (id int); -- second line");
  await write("0002-add-name.sql", "-- breaking: no\nALTER TABLE agents ADD COLUMN name text;");
});

afterEach(async () => {
  await open.close();
  await rm(directory, { recursive: true, force: true });
});

async function write(name: string, sql: string): Promise<void> {
  await writeFile(join(directory, name), sql);
}

function run(target: Pool = pool) {
  return migrate(target, { schema: "registry", directory });
}

describe("migrate", () => {
  it("creates the schema and applies every file in order, once", async () => {
    expect(await run()).toEqual({
      schema: "registry",
      applied: ["0001-create-agents.sql", "0002-add-name.sql"],
      ahead: [],
      version: 2,
    });
    expect(await run()).toMatchObject({ applied: [], version: 2 });
    await pool.query("INSERT INTO registry.agents (id, name) VALUES (1, 'a')");
  });

  it("applies only what is new", async () => {
    await run();
    await write("0003-more.sql", "ALTER TABLE agents ADD COLUMN more text;");
    expect(await run()).toMatchObject({ applied: ["0003-more.sql"], version: 3 });
  });

  it("lets racing replicas wait for each other, so that each file runs once", async () => {
    await write("0003-slow.sql", "SELECT pg_sleep(0.2); INSERT INTO agents (id) VALUES (1);");
    const replicas = Array.from({ length: 6 }, () =>
      createPool({
        url: open.database.url,
        max: 2,
        applicationName: "replica",
        schema: "registry",
        // Shorter than the wait for the lock: the migrator's session lifts it.
        statementTimeoutMs: 100,
      }),
    );
    const reports = await Promise.all(replicas.map((replica) => run(replica)));
    expect(reports.flatMap((report) => report.applied).sort()).toEqual([
      "0001-create-agents.sql",
      "0002-add-name.sql",
      "0003-slow.sql",
    ]);
    const { rows } = await pool.query("SELECT count(*)::int AS count FROM registry.agents");
    expect(rows).toEqual([{ count: 1 }]);
    await Promise.all(replicas.map((replica) => replica.close()));
  });

  it("stops waiting for the lock after its timeout", async () => {
    const other = await pool.connect();
    await other.query("SELECT pg_advisory_lock($1, hashtext('registry'))", [0x4e584d47]);
    const late = migrate(pool, { schema: "registry", directory, lockTimeoutMs: 50 });
    await expect(late).rejects.toMatchObject({ reason: "LOCK_NOT_AVAILABLE" });
    other.release(true);
    await expect(run()).resolves.toMatchObject({ version: 2 });
  });

  it("asks a server that it cannot trust once, and leaves the waiting to its caller", async () => {
    let asked = 0;
    const plain = createServer((socket) => {
      asked++;
      // The answer to a request for TLS: there is none.
      socket.on("error", () => undefined).once("data", () => socket.end("N"));
    }).listen(0, "127.0.0.1");
    await once(plain, "listening");
    const { port } = plain.address() as AddressInfo;
    const url = `postgres://u:p@127.0.0.1:${port}/x?sslmode=verify-full`;
    const distrustful = createPool({ url, max: 1, applicationName: "t", schema: "registry" });
    await expect(run(distrustful)).rejects.toMatchObject({ reason: "DATABASE_UNTRUSTED" });
    expect(asked).toBe(1);
    await distrustful.close();
    plain.close();
  });

  it("rolls a failing file back whole, names it, and keeps those before it", async () => {
    await write("0003-broken.sql", "CREATE TABLE half (id int); SELECT * FROM nowhere;");
    await expect(run()).rejects.toMatchObject({
      reason: "MIGRATION_FAILED",
      message: expect.stringMatching(/0003-broken\.sql.*nowhere/),
    });
    const { rows } = await pool.query("SELECT to_regclass('registry.half') AS half");
    expect(rows).toEqual([{ half: null }]);
    await write("0003-broken.sql", "CREATE TABLE whole (id int);");
    await expect(run()).resolves.toMatchObject({ applied: ["0003-broken.sql"] });
  });

  it("refuses an applied file that was changed", async () => {
    await run();
    await write("0001-create-agents.sql", "CREATE TABLE agents (id bigint);");
    await expect(run()).rejects.toMatchObject({
      reason: "MIGRATION_MISMATCH",
      message: expect.stringContaining("0001-create-agents.sql differs"),
    });
  });

  it("refuses an applied file that was renamed", async () => {
    await run();
    await rename(join(directory, "0002-add-name.sql"), join(directory, "0002-other.sql"));
    await expect(run()).rejects.toMatchObject({
      message: expect.stringContaining("applied as 0002-add-name.sql"),
    });
  });

  it("refuses a missing applied file", async () => {
    await run();
    await rm(join(directory, "0001-create-agents.sql"));
    await expect(run()).rejects.toMatchObject({ reason: "MIGRATION_FILES_INVALID" });
    await rm(join(directory, "0002-add-name.sql"));
    await expect(run()).rejects.toMatchObject({
      reason: "MIGRATION_MISMATCH",
      message: expect.stringContaining("0001-create-agents.sql"),
    });
  });

  it("runs on a database that is ahead by non-breaking migrations only", async () => {
    await run();
    await rm(join(directory, "0002-add-name.sql"));
    expect(await run()).toMatchObject({ applied: [], ahead: ["0002-add-name.sql"], version: 2 });
  });

  it.each([
    ["a gap in the numbers", "0004-gap.sql", "SELECT 1", /should have number 3/],
    ["a duplicate number", "0002-again.sql", "SELECT 1", /should have number/],
    ["a name of another form", "3-Other.sql", "SELECT 1", /must be named like/],
    ["a file that commits", "0003-x.sql", "SELECT 1;\nCOMMIT;", /must not end the transaction/],
  ])("refuses %s", async (_what, name, sql, message) => {
    await write(name, sql);
    await expect(run()).rejects.toMatchObject({
      reason: "MIGRATION_FILES_INVALID",
      message: expect.stringMatching(message),
    });
  });
});
