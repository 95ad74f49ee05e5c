import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "@nexus/devkit";
import { createPool, type Pool } from "@nexus/postgres";
import { waitFor } from "@nexus/testkit";
import { Client } from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

let server: EmbeddedPostgres;
let pool: Pool;
let changes: Error[] = [];

beforeEach(async () => {
  changes = [];
  server = await startEmbeddedPostgres({
    dataDir: join(tmpdir(), `nexus-test-${randomBytes(8).toString("hex")}`),
    durable: false,
    removeWhenDone: true,
    settings: { wal_level: "replica" },
  });
  const connectionTimeoutMs = 10_000;
  pool = createPool({
    url: server.url,
    max: 2,
    applicationName: "t",
    schema: "public",
    connectionTimeoutMs,
  });
  pool.onHistoryChange((error) => changes.push(error));
});

afterEach(async () => {
  await pool.close();
  await server.stop();
});

async function dataDirectory(): Promise<string> {
  const { rows } = await pool.query<{ data_directory: string }>("SHOW data_directory");
  return rows[0]?.data_directory ?? "";
}

/** Starts the server as a standby. */
async function becomeStandby(): Promise<void> {
  writeFileSync(join(await dataDirectory(), "standby.signal"), "");
  await server.restart();
  await waitFor(() => pool.stats().total === 0, { what: "the pool to notice" });
}

/** No connection is given, and that was said once. */
async function expectRefusal(): Promise<void> {
  for (let attempt = 0; attempt < 3; attempt += 1) {
    await expect(pool.query("SELECT 1")).rejects.toMatchObject({
      kind: "unavailable",
      reason: "DATABASE_HISTORY_CHANGED",
    });
  }
  expect(changes).toHaveLength(1);
  const late: Error[] = [];
  pool.onHistoryChange((error) => late.push(error));
  expect(late).toEqual(changes);
}

/** Has the standby take over, which begins a new timeline. */
async function takeOver(): Promise<void> {
  const client = new Client({ connectionString: server.url });
  await client.connect();
  await client.query("SELECT pg_promote()");
  await client.end();
}

async function untilItAnswers(): Promise<void> {
  const answers = async () => {
    try {
      return (await pool.query("SELECT 1")).rowCount === 1;
    } catch {
      return false;
    }
  };
  await waitFor(answers, { what: "an answer" });
}

describe("a pool", () => {
  it("goes on after a restart of its server, and after a crash", async () => {
    await untilItAnswers();
    await server.restart();
    await untilItAnswers();
    await server.kill();
    await server.restart();
    await untilItAnswers();
    expect(changes).toEqual([]);
  });

  it("waits for a standby to take over, and then ends: that is another history", async () => {
    await pool.check();
    await becomeStandby();
    const waiting = pool.query("SELECT 1").catch((error: unknown) => error);
    await takeOver();
    expect(await waiting).toMatchObject({ reason: "DATABASE_HISTORY_CHANGED" });
    await expectRefusal();
  });

  it("gives up on a standby that does not take over", async () => {
    await becomeStandby();
    const { url } = server;
    const short = { url, max: 1, applicationName: "t", schema: "public", connectionTimeoutMs: 300 };
    const impatient = createPool(short);
    await expect(impatient.query("SELECT 1")).rejects.toMatchObject({
      reason: "DATABASE_UNAVAILABLE",
    });
    expect(impatient.stats().total).toBe(0);
    await impatient.close();
  });

  it("ends when files of an earlier time are put back", async () => {
    const folder = await dataDirectory();
    await server.kill();
    const copy = `${folder}-copy`;
    execFileSync("cp", ["-a", folder, copy]);
    await server.restart();
    await pool.query("CREATE TABLE lost AS SELECT generate_series(1, 1000)");
    await pool.check();
    await server.kill();
    rmSync(folder, { recursive: true });
    renameSync(copy, folder);
    await server.restart();
    await waitFor(() => pool.stats().total === 0, { what: "the pool to notice" });
    await expectRefusal();
  });
});
