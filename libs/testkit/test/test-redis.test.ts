import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { findRedisServer } from "@nexus/devkit";
import {
  createTempFolder,
  openTestRedis,
  startTestRedis,
  type TempFolder,
  type TestRedisServer,
} from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ensureRedis } from "../src/redis-setup.ts";

let server: TestRedisServer;
let folder: TempFolder;

beforeAll(async () => {
  server = await startTestRedis();
  folder = await createTempFolder("nexus-testkit");
});
afterAll(async () => {
  await server.close();
  await folder.remove();
});

/** What the server answers to commands that it is told behind the password. */
async function ask(url: string, ...commands: string[]): Promise<string[]> {
  const { hostname, port, password } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port) });
  socket.write([`AUTH ${password}`, ...commands, "QUIT", ""].join("\r\n"));
  let answer = "";
  for await (const chunk of socket) answer += String(chunk);
  return answer.split("\r\n").slice(1, 1 + commands.length);
}

/** A machine whose apt-get is the given script. */
function machineWith(name: string, script: string, isRoot: boolean) {
  const bin = join(folder.path, name);
  mkdirSync(bin);
  writeFileSync(join(bin, "apt-get"), `#!/bin/sh\n${script}\n`);
  chmodSync(join(bin, "apt-get"), 0o755);
  const hasRedis = async () => findRedisServer(bin) !== undefined;
  return { bin, machine: { hasRedis, isRoot, env: { PATH: `${bin}:/usr/bin:/bin` } } };
}

const INSTALLS = `if [ "$1" = install ]; then for last; do :; done; cp "$0" "$(dirname "$0")/$last"; fi`;

describe("openTestRedis", () => {
  it("opens the server that the environment gives, and leaves it running", async () => {
    const env = { NEXUS_TEST_REDIS_URL: server.url };
    const [one, other] = await Promise.all([openTestRedis(env), openTestRedis(env)]);
    expect([one.url, other.url]).toEqual([server.url, server.url]);
    expect(one.deployment).not.toBe(other.deployment);
    await one.close();
    expect(await ask(server.url, "PING")).toEqual(["+PONG"]);
  });

  it("starts one where the environment gives none, and stops it", async () => {
    const own = await openTestRedis({});
    expect(await ask(own.url, "PING")).toEqual(["+PONG"]);
    await own.close();
    await expect(ask(own.url, "PING")).rejects.toThrow(/ECONNREFUSED/);
  });
});

describe("startTestRedis", () => {
  it("starts one that may be emptied, killed and started again", async () => {
    await ask(server.url, "SET kept yes");
    await server.flush();
    expect(await ask(server.url, "GET kept")).toEqual(["$-1"]);
    await server.kill();
    await expect(ask(server.url, "PING")).rejects.toThrow(/ECONNREFUSED/);
    await server.restart();
    expect(await ask(server.url, "PING")).toEqual(["+PONG"]);
  });
});

describe("a machine without a Redis", () => {
  it("gets Debian's package as root", async () => {
    const { bin, machine } = machineWith("root", INSTALLS, true);
    await ensureRedis(machine);
    expect(findRedisServer(bin)).toBe(join(bin, "redis-server"));
  });

  it("is left as it is where nothing may be installed", async () => {
    const { bin, machine } = machineWith("user", INSTALLS, false);
    await ensureRedis(machine);
    expect(findRedisServer(bin)).toBeUndefined();
  });

  it("goes on without one when the package cannot be had", async () => {
    const { bin, machine } = machineWith("offline", "exit 100", true);
    await ensureRedis(machine);
    expect(findRedisServer(bin)).toBeUndefined();
  });
});
