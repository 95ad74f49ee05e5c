import { existsSync, statSync } from "node:fs";
import { chmod, chown, mkdir, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type EmbeddedPostgres, freePort, startEmbeddedPostgres } from "@nexus/devkit";
import { createPool } from "@nexus/postgres";
import { waitFor } from "@nexus/testkit";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { unprivilegedUser } from "../src/postgres/run-as.ts";
import { processIdentity } from "../src/process-identity.ts";
import { startOwner } from "./_owner-process.ts";

/** Making a cluster takes a second of both cores, and the machine may be busy with other tests. */
const SLOW = { timeout: 120_000 };
const isRoot = process.getuid?.() === 0;
let folder: string;
/** Shared by the tests, each of which leaves it stopped: making a cluster costs a second of both cores. */
let dataDir: string;
/** For the tests that end with its removal. */
let throwAwayDir: string;
let running: EmbeddedPostgres[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "nexus-devkit-"));
  await chmod(folder, 0o755);
  dataDir = join(folder, "pg");
  throwAwayDir = join(folder, "throw-away");
});

beforeEach(() => {
  running = [];
});

afterEach(async () => {
  for (const server of running) await server.stop();
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function start(options: { port?: number; durable?: boolean } = {}) {
  const { port, durable = false } = options;
  const server = await startEmbeddedPostgres({
    dataDir,
    durable,
    ...(port === undefined ? {} : { port }),
  });
  running.push(server);
  return server;
}

/** Asks a server that is there, however busy the machine is. */
async function query(url: string, text: string, patienceMs = 20_000): Promise<unknown[]> {
  const pool = createPool({
    url,
    max: 1,
    applicationName: "t",
    schema: "public",
    connectionTimeoutMs: patienceMs,
  });
  try {
    return (await pool.query(text)).rows;
  } finally {
    await pool.close();
  }
}

describe("startEmbeddedPostgres", SLOW, () => {
  it("keeps data and password between starts", async () => {
    const first = await start({ durable: true });
    await query(first.url, "CREATE TABLE t (id int)");
    await query(first.url, "INSERT INTO t VALUES (42)");
    await first.stop();
    expect(processIdentity(first.pid)).toBeUndefined();
    const second = await start({ durable: true, port: first.port });
    expect(second.url).toBe(first.url);
    expect(await query(first.url, "SELECT id FROM t")).toEqual([{ id: 42 }]);
  });

  it("is durable or fast as it is told, and listens on loopback only", async () => {
    const settings =
      "SELECT current_setting('fsync') AS f, current_setting('listen_addresses') AS l";
    const fast = await start();
    expect(await query(fast.url, settings)).toEqual([{ f: "off", l: "127.0.0.1" }]);
    await fast.stop();
    const safe = await start({ durable: true });
    expect(await query(safe.url, settings)).toEqual([{ f: "on", l: "127.0.0.1" }]);
  });

  it("asks for the password that only its owner can read", async () => {
    const server = await start();
    const file = join(server.dataDir, "superuser-password");
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const wrong = new URL(server.url);
    wrong.password = "guess";
    await expect(query(wrong.href, "SELECT 1")).rejects.toMatchObject({ kind: "internal" });
  });

  it("refuses a directory that a live process owns, and names that process", async () => {
    const first = await start();
    await expect(start()).rejects.toMatchObject({
      reason: "DATA_DIR_IN_USE",
      message: expect.stringContaining(`process ${process.pid}`),
    });
    expect(await query(first.url, "SELECT 1 AS one")).toEqual([{ one: 1 }]);
  });

  it("refuses a directory whose server it did not start, and leaves that server alone", async () => {
    const first = await start();
    await rm(join(first.dataDir, "owner.json"));
    await expect(start()).rejects.toMatchObject({
      reason: "DATA_DIR_IN_USE",
      message: expect.stringContaining(`process ${first.pid}`),
    });
    expect(await query(first.url, "SELECT 1 AS one")).toEqual([{ one: 1 }]);
  });

  it("names the port that is in use", async () => {
    const port = await freePort();
    const holder = createServer().listen(port, "127.0.0.1");
    await expect(start({ port })).rejects.toMatchObject({
      reason: "PORT_IN_USE",
      message: expect.stringContaining(String(port)),
    });
    await new Promise((resolve) => holder.close(resolve));
    await expect(start({ port })).resolves.toMatchObject({ port });
  });

  it("recovers every acknowledged row after kill, by restart and by a new start", async () => {
    const server = await start({ durable: true });
    await query(server.url, "CREATE TABLE counted (id int)");
    await query(server.url, "INSERT INTO counted SELECT generate_series(1, 400)");
    await server.kill();
    const asked = query(server.url, "SELECT 1", 300);
    await expect(asked).rejects.toMatchObject({ kind: "unavailable" });
    await server.restart();
    const count = "SELECT count(*)::int AS n FROM counted";
    expect(await query(server.url, count)).toEqual([{ n: 400 }]);
    await server.kill();
    await server.stop();
    const again = await start({ durable: true, port: server.port });
    expect(await query(again.url, count)).toEqual([{ n: 400 }]);
  });

  it("says when the server ends by itself, but not when it is asked to end", async () => {
    let exits = 0;
    const server = await startEmbeddedPostgres({
      dataDir,
      durable: false,
      onUnexpectedExit: () => {
        exits += 1;
      },
    });
    running.push(server);
    await server.restart();
    await server.kill();
    await server.restart();
    expect(exits).toBe(0);
    process.kill(server.pid, "SIGKILL");
    await waitFor(() => exits === 1, { what: "the report", timeoutMs: 60_000 });
    await server.restart();
    expect(await query(server.url, "SELECT 1 AS one")).toEqual([{ one: 1 }]);
  });

  it("removes its directory when done, if so asked", async () => {
    const server = await startEmbeddedPostgres({
      dataDir: throwAwayDir,
      durable: false,
      removeWhenDone: true,
    });
    await server.stop();
    expect(existsSync(throwAwayDir)).toBe(false);
  });

  it("reports what initdb or the server said when it cannot start", async () => {
    const settings = { shared_buffers: "nonsense" };
    const failing = startEmbeddedPostgres({ dataDir, durable: false, settings });
    await expect(failing).rejects.toMatchObject({
      reason: "POSTGRES_START_FAILED",
      message: expect.stringContaining("shared_buffers"),
    });
    await expect(start()).resolves.toBeDefined();
  });
});

describe("an owner that is killed", SLOW, () => {
  it("takes its server with it", async () => {
    const owner = await startOwner({ dataDir, durable: true });
    await query(owner.url, "CREATE TABLE guarded (id int)");
    await owner.kill();
    await waitFor(() => processIdentity(owner.serverPid) === undefined, {
      what: "the server's end",
      timeoutMs: 60_000,
    });
    const server = await start({ durable: true });
    expect(await query(server.url, "SELECT * FROM guarded")).toEqual([]);
  });

  it("takes a throw-away directory with it too", async () => {
    const owner = await startOwner({
      dataDir: throwAwayDir,
      durable: false,
      removeWhenDone: true,
    });
    await owner.kill();
    await waitFor(() => !existsSync(throwAwayDir), {
      what: "the directory's end",
      timeoutMs: 60_000,
    });
    expect(processIdentity(owner.serverPid)).toBeUndefined();
  });

  it("leaves nothing that a later start cannot clean up, even when its guard was killed first", async () => {
    const owner = await startOwner({ dataDir, durable: true });
    await query(owner.url, "CREATE TABLE unguarded (id int)");
    await owner.killWithGuard();
    expect(processIdentity(owner.serverPid)).toBeDefined();
    const server = await start({ durable: true });
    expect(processIdentity(owner.serverPid)).toBeUndefined();
    expect(await query(server.url, "SELECT * FROM unguarded")).toEqual([]);
  });
});

describe.runIf(isRoot)("as root", SLOW, () => {
  it("runs as an unprivileged user", async () => {
    const server = await start();
    expect(statSync(join(server.dataDir, "cluster")).uid).toBe(unprivilegedUser()?.uid);
    expect(statSync(`/proc/${server.pid}`).uid).toBe(unprivilegedUser()?.uid);
  });

  it("moves a directory that this user cannot reach, and says where", async () => {
    const notices: string[] = [];
    await mkdir(join(folder, "closed"), { recursive: true, mode: 0o700 });
    const server = await startEmbeddedPostgres({
      dataDir: join(folder, "closed", "pg"),
      durable: false,
      removeWhenDone: true,
      onNotice: (notice) => notices.push(notice),
    });
    expect(server.dataDir).not.toContain(folder);
    expect(notices.join()).toContain(server.dataDir);
    await server.stop();
    expect(existsSync(server.dataDir)).toBe(false);
  });

  it("keeps such a directory for as long as the one that it stands in for", async () => {
    const asked = join(folder, "closed", "kept");
    const place = async () => {
      const server = await startEmbeddedPostgres({ dataDir: asked, durable: false });
      await server.stop();
      return server.dataDir;
    };
    const first = await place();
    expect(await place()).toBe(first);
    await rm(asked, { recursive: true });
    const second = await place();
    expect(second).not.toBe(first);
    // Its original lay in the temp directory and is gone, so the next start has cleaned up.
    expect(existsSync(first)).toBe(false);
    await rm(dirname(second), { recursive: true });
  });

  it("serves an ordinary user as well", async () => {
    const user = unprivilegedUser();
    await mkdir(throwAwayDir);
    await chown(throwAwayDir, user!.uid, user!.gid);
    const theirs = join(throwAwayDir, "pg");
    const options = { dataDir: theirs, durable: false, removeWhenDone: true };
    const owner = await startOwner(options, user);
    expect(await query(owner.url, "SELECT 1 AS one")).toEqual([{ one: 1 }]);
    expect(owner.dataDir).toBe(theirs);
    await owner.kill();
    await waitFor(() => !existsSync(theirs), { what: "the directory's end", timeoutMs: 60_000 });
  });
});
