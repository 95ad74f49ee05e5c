import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { findRedisServer, type LocalRedis, startLocalRedis } from "@nexus/devkit";
import { waitFor } from "@nexus/testkit";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { processIdentity } from "../src/process-identity.ts";

const program = findRedisServer();
const where = program ?? "NOT RUN: no redis-server or valkey-server on the PATH";
const OWNER = fileURLToPath(new URL("./_redis-owner.mjs", import.meta.url));
let folder: string;
let running: LocalRedis[] = [];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "nexus-redis-"));
});

afterEach(async () => {
  await Promise.all(running.map((redis) => redis.stop()));
  running = [];
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

async function start(name: string, options: { port?: number; durability?: "always" } = {}) {
  const redis = await startLocalRedis({ dataDir: join(folder, name), ...options });
  running.push(redis);
  return redis;
}

/** Sends inline commands and returns the lines of the answer. */
function ask(url: string, commands: readonly string[]): Promise<string[]> {
  const { hostname, port, password } = new URL(url);
  const login = password === "" ? [] : [`AUTH ${password}`];
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port) });
    let text = "";
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
    socket.once("error", reject);
    socket.once("close", () => resolve(text.split("\r\n").slice(login.length)));
    for (const command of [...login, ...commands, "QUIT"]) socket.write(`${command}\r\n`);
  });
}

describe(`startLocalRedis (${where})`, { skip: program === undefined, timeout: 60_000 }, () => {
  it("starts a server that only its url opens, and stops it", async () => {
    const redis = await start("plain");
    expect(await ask(redis.url, ["PING"])).toContain("+PONG");
    const [refusal] = await ask(`redis://127.0.0.1:${redis.port}`, ["PING"]);
    expect(refusal).toMatch(/^-NOAUTH/);
    const { pid } = redis;
    expect(processIdentity(pid)).toBeDefined();
    await redis.stop();
    await redis.stop();
    expect(processIdentity(pid)).toBeUndefined();
    expect(redis.pid).toBe(0);
  });

  it("keeps over a kill what it acknowledged when durability is always", async () => {
    const redis = await start("durable", { durability: "always" });
    expect(await ask(redis.url, ["SET kept yes"])).toContain("+OK");
    await redis.kill();
    expect(redis.pid).toBe(0);
    await redis.restart();
    expect(await ask(redis.url, ["GET kept"])).toContain("yes");
    expect(await ask(redis.url, ["CONFIG GET appendfsync"])).toContain("always");
  });

  it("keeps nothing by default and writes no file", async () => {
    const redis = await start("volatile");
    await ask(redis.url, ["SET kept yes"]);
    await redis.restart();
    expect(await ask(redis.url, ["GET kept"])).toContain("$-1");
    expect(existsSync(join(folder, "volatile/dump.rdb"))).toBe(false);
    expect(existsSync(join(folder, "volatile/appendonlydir"))).toBe(false);
  });

  it("does not outlive its owner, however that ends", async () => {
    const args = [OWNER, join(folder, "owned")];
    const owner = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    const [line] = (await once(owner.stdout, "data")) as [Buffer];
    const pid = Number(line.toString());
    expect(processIdentity(pid)).toBeDefined();
    owner.kill("SIGKILL");
    await waitFor(() => processIdentity(pid) === undefined, { what: "its end", timeoutMs: 40_000 });
  });

  it("refuses a port that another process has", async () => {
    const { port } = await start("first");
    await expect(start("second", { port })).rejects.toMatchObject({ reason: "PORT_IN_USE" });
  });
});

describe("a machine without a server", () => {
  it("is known by its PATH, and starting one says what to install", async () => {
    expect(findRedisServer(folder)).toBeUndefined();
    expect(findRedisServer("")).toBeUndefined();
    const missing = join(folder, "no-such-program");
    const options = { dataDir: join(folder, "none"), program: missing };
    await expect(startLocalRedis(options)).rejects.toMatchObject({ reason: "REDIS_START_FAILED" });
  });

  it("is one no more when a valkey-server is on the PATH", () => {
    const valkey = join(folder, "valkey-server");
    writeFileSync(valkey, "#!/bin/sh\n");
    expect(findRedisServer(folder)).toBeUndefined();
    chmodSync(valkey, 0o755);
    expect(findRedisServer(`/nowhere:${folder}`)).toBe(valkey);
  });

  it("gets the last words of a program that ends at once", async () => {
    const broken = join(folder, "redis-server");
    writeFileSync(broken, "#!/bin/sh\necho no such setting >&2\nexit 1\n", { mode: 0o755 });
    const options = { dataDir: join(folder, "broken"), program: broken };
    await expect(startLocalRedis(options)).rejects.toThrow(
      /did not start on port.*no such setting/,
    );
  });
});
