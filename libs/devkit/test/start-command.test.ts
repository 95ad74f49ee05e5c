import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { StackInfo } from "@nexus/devkit";
import { waitFor } from "@nexus/testkit";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { processIdentity } from "../src/process-identity.ts";

const MAIN = fileURLToPath(new URL("../dist/main.js", import.meta.url));
const SUPERVISOR = fileURLToPath(new URL("./_supervisor.mjs", import.meta.url));
let folder: string;
let child: ChildProcess | undefined;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "nexus-devkit-"));
  await chmod(folder, 0o755);
});

afterEach(async () => {
  if (child !== undefined && child.exitCode === null && child.signalCode === null) {
    child.kill("SIGKILL");
    await once(child, "exit");
  }
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

interface Ended {
  readonly code: number | null;
  readonly out: string;
}

async function run(...args: string[]): Promise<Ended> {
  const started = spawn(process.execPath, [MAIN, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  child = started;
  let out = "";
  started.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  started.stderr.on("data", (chunk: Buffer) => (out += chunk.toString()));
  const [code] = (await once(started, "close")) as [number | null];
  return { code, out };
}

/** The supervisor of a stack of fixtures, in a process of its own. */
async function startSupervisor(env: Record<string, string>): Promise<StackInfo> {
  child = spawn(process.execPath, [SUPERVISOR, folder], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "inherit", "inherit"],
  });
  const file = join(folder, "stack.json");
  await waitFor(() => existsSync(file), { what: "stack.json", timeoutMs: 60_000 });
  return JSON.parse(readFileSync(file, "utf8")) as StackInfo;
}

async function everythingEnds(info: StackInfo): Promise<void> {
  const pids = [info.postgres.pid, ...Object.values(info.services).map(({ pid }) => pid)];
  await waitFor(() => pids.every((pid) => processIdentity(pid) === undefined), {
    what: "the end of all processes",
    timeoutMs: 40_000,
  });
}

describe("npm start", () => {
  it("explains itself", async () => {
    const { code, out } = await run("--help");
    expect(code).toBe(0);
    for (const flag of ["--port-base", "--data-dir", "--log-level"]) expect(out).toContain(flag);
  });

  it.each([
    [["start", "--port-base", "0"], /--port-base must be/],
    [["start", "--colour"], /--colour/],
    [["begin"], /unknown command: begin/],
  ])("exits 2 for %j", async (args, message) => {
    const { code, out } = await run(...args);
    expect(code).toBe(2);
    expect(out).toMatch(message);
  });
});

describe("a supervisor that is killed", { timeout: 120_000 }, () => {
  it("takes every process with it, and the next start goes on at once", async () => {
    const info = await startSupervisor({});
    child?.kill("SIGKILL");
    await everythingEnds(info);
    await rm(join(folder, "stack.json"));
    const again = await startSupervisor({});
    expect(again.services.vault.grpc).not.toBe("");
    child?.kill("SIGTERM");
    await everythingEnds(again);
  });

  it("takes processes with it that do not listen", async () => {
    const info = await startSupervisor({ FIXTURE_MODE_REGISTRY: "deaf" });
    child?.kill("SIGKILL");
    await everythingEnds(info);
  });
});
