import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { waitFor } from "@nexus/testkit";
import { afterEach, describe, expect, it } from "vitest";

const FIXTURE = join(import.meta.dirname, "fixtures/service.mjs");
const SECRET = "hunter2".repeat(6);
const ENV = {
  NEXUS_REGISTRY_DATABASE_URL: `postgres://registry:${SECRET}@127.0.0.1:1/nexus`,
  NEXUS_REGISTRY_CLIENT_SECRET: SECRET,
  NEXUS_REGISTRY_GRPC_PORT: "0",
  NEXUS_REGISTRY_OPS_PORT: "0",
};

const children: ChildProcess[] = [];
let folder: string | undefined;

afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  if (folder !== undefined) rmSync(folder, { recursive: true });
  folder = undefined;
});

/** Runs the fixture as a process of its own. */
function run(env: Record<string, string> = {}, args: readonly string[] = []) {
  const child = spawn(process.execPath, [FIXTURE, ...args], {
    env: { PATH: process.env["PATH"] ?? "", ...ENV, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  children.push(child);
  const output = { out: "", err: "" };
  child.stdout.on("data", (chunk: Buffer) => (output.out += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (output.err += chunk.toString()));
  const exit = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.on("close", (code, signal) => resolve({ code, signal }));
  });
  const says = (text: string) =>
    waitFor(() => output.out.includes(text), { what: `"${text}" in ${output.out}${output.err}` });
  return { child, output, exit, says };
}

describe("runService", () => {
  it("prints every problem of the configuration and ends with 1", async () => {
    const env = { NEXUS_REGISTRY_GRPC_PORT: "x", NEXUS_REGISTRY_CLIENT_SECRET: "hunter2" };
    const { exit, output } = run(env);
    expect(await exit).toEqual({ code: 1, signal: null });
    expect(output.err).toContain("The configuration of registry has 2 problems:");
    expect(output.err).toContain("NEXUS_REGISTRY_GRPC_PORT must be a whole number");
    expect(output.err).toContain("NEXUS_REGISTRY_CLIENT_SECRET is set, but too short");
    expect(output.err).not.toContain("hunter2");
  });

  it("prints the effective configuration without secrets and ends with 0", async () => {
    const { exit, output } = run({}, ["--print-config"]);
    expect(await exit).toEqual({ code: 0, signal: null });
    expect(output.out).toContain("NEXUS_REGISTRY_CLIENT_SECRET=[set]  # env");
    expect(output.out).toContain("NEXUS_REGISTRY_LOG_LEVEL=info  # default");
    expect(output.out).not.toContain("hunter2");
  });

  it("stops on SIGTERM and on SIGINT, also when both come, and ends with 0", async () => {
    for (const signals of [["SIGTERM"], ["SIGINT"], ["SIGINT", "SIGTERM"]] as const) {
      const { child, exit, output, says } = run();
      await says("service started");
      // Held until all are there: one that came in the last moment of a process, when Node listens no more, would end it by itself.
      child.kill("SIGSTOP");
      for (const signal of signals) child.kill(signal);
      child.kill("SIGCONT");
      expect(await exit).toEqual({ code: 0, signal: null });
      expect(output.out).toContain("service stopped");
      // What the start took, by step: where to look when it takes long.
      expect(output.out).toMatch(/"tookMs":\{"all":\d+,.*"listen":\d+\}/);
      expect(output.out).not.toContain("hunter2");
    }
  });

  it("stops on SIGTERM while it still starts, and ends with 0", async () => {
    const { child, exit, output, says } = run({
      NEXUS_REGISTRY_FAULT: "wait",
      NEXUS_REGISTRY_TYPO: "1",
    });
    await says("variable is no known setting");
    child.kill("SIGTERM");
    expect(await exit).toEqual({ code: 0, signal: null });
    expect(output.out).toContain("service stopped before it had started");
  });

  it("reloads dynamic settings on SIGHUP, and keeps the old ones when the new are wrong", async () => {
    folder = mkdtempSync(join(tmpdir(), "nexus-run-"));
    const path = join(folder, "config.json");
    writeFileSync(path, "{}");
    const { child, exit, output, says } = run({ NEXUS_REGISTRY_CONFIG_FILE: path });
    await says("service started");
    writeFileSync(path, JSON.stringify({ NEXUS_REGISTRY_LOG_LEVEL: "debug" }));
    child.kill("SIGHUP");
    await says('"env":"NEXUS_REGISTRY_LOG_LEVEL","from":"info","to":"debug","applied":true');
    writeFileSync(path, "{");
    child.kill("SIGHUP");
    await says("configuration refused");
    child.kill("SIGTERM");
    expect(await exit).toEqual({ code: 0, signal: null });
    expect(output.out).toContain("service stopped");
  });

  it("reloads when the file changes", async () => {
    folder = mkdtempSync(join(tmpdir(), "nexus-run-"));
    const path = join(folder, "config.json");
    writeFileSync(path, "{}");
    const { child, exit, says } = run({ NEXUS_REGISTRY_CONFIG_FILE: path });
    await says("service started");
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    writeFileSync(path, JSON.stringify({ NEXUS_REGISTRY_HOST: "localhost" }));
    await says("setting changed but needs a restart");
    child.kill("SIGTERM");
    await exit;
  });

  it("ends with 1 and the cause in the log when the start fails", async () => {
    const { exit, output } = run({ NEXUS_REGISTRY_FAULT: "start" });
    expect(await exit).toEqual({ code: 1, signal: null });
    expect(output.out).toContain("broken start");
  });

  it("ends with 1 on an unhandled rejection or exception", async () => {
    for (const [fault, text] of [
      ["rejection", "broken promise"],
      ["exception", "broken timer"],
    ] as const) {
      const { exit, output } = run({ NEXUS_REGISTRY_FAULT: fault });
      expect(await exit).toEqual({ code: 1, signal: null });
      expect(output.out).toContain(text);
    }
  });

  it("ends with 1 when the database goes on from another history than the process remembers", async () => {
    const { exit, output } = run({ NEXUS_REGISTRY_FAULT: "history" });
    expect(await exit).toEqual({ code: 1, signal: null });
    expect(output.out).toContain("another history");
  });

  it("ends with 1 when something did not close", async () => {
    const { child, exit, output, says } = run({ NEXUS_REGISTRY_FAULT: "dispose" });
    await says("service started");
    child.kill("SIGTERM");
    expect((await exit).code).toBe(1);
    expect(output.out).toContain("Closing broken store failed.");
  });

  it("ends in spite of a handle that keeps the loop alive, and names it", async () => {
    const { child, exit, output, says } = run({ NEXUS_REGISTRY_FAULT: "handle" });
    await says("service started");
    child.kill("SIGTERM");
    expect((await exit).code).toBe(0);
    expect(output.out).toContain("open handles at exit");
    expect(output.out).toContain("Timeout");
  });
});
