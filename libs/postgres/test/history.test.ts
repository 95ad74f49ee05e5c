import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "@nexus/devkit";
import { createPool, type Pool } from "@nexus/postgres";
import { waitFor } from "@nexus/testkit";
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

let server: EmbeddedPostgres;
let pool: Pool;
const changes: Error[] = [];

beforeAll(async () => {
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

afterAll(async () => {
  await pool.close();
  await server.stop();
});

/** Starts the server as a standby. */
async function becomeStandby(): Promise<void> {
  const { rows } = await pool.query<{ data_directory: string }>("SHOW data_directory");
  writeFileSync(join(rows[0]?.data_directory ?? "", "standby.signal"), "");
  await server.restart();
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

  it("does not connect to a standby, which may take over meanwhile", async () => {
    await becomeStandby();
    await waitFor(() => pool.stats().total === 0, { what: "the pool to notice" });
    await expect(pool.query("SELECT 1")).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
    expect(pool.stats().total).toBe(0);
  });

  it("ends with the history of its database, says so once, and no connection follows", async () => {
    await takeOver();
    for (let attempt = 0; attempt < 3; attempt += 1) {
      await expect(pool.query("SELECT 1")).rejects.toMatchObject({
        kind: "unavailable",
        reason: "DATABASE_HISTORY_CHANGED",
      });
    }
    expect(changes).toHaveLength(1);
  });
});
