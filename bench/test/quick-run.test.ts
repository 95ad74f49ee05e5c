/** The whole bench, short: every scenario over a real stack. No timing is judged here, only that all is measured. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findRedisServer } from "@nexus/devkit";
import { afterAll, describe, expect, it } from "vitest";

const PROGRAM = join(import.meta.dirname, "../dist/main.js");
const PROFILE_READER = join(import.meta.dirname, "../dist/read-profile.js");
/** A minute on a quiet machine, four times that on one that builds meanwhile. */
const RUN_TIMEOUT_MS = 480_000;

/** Without one the peer is reported as not measured, which is no failure. */
const hasRedis = findRedisServer() !== undefined;

const folder = mkdtempSync(join(tmpdir(), "nexus-bench-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function bench(args: readonly string[], program = PROGRAM) {
  // The Redis of this machine, whatever the environment names.
  const env = { ...process.env, NEXUS_BENCH_REDIS_URL: "" };
  const stdio: ["ignore", "pipe", "pipe"] = ["ignore", "pipe", "pipe"];
  const child = spawn(process.execPath, [program, ...args], { env, stdio });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on("data", (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  await once(child, "close");
  return { code: child.exitCode, stdout, stderr };
}

describe("npm run bench", () => {
  it("refuses an unknown name or flag with the list of names, and starts nothing", async () => {
    for (const wrong of [["speed"], ["--fast"]]) {
      const { code, stdout, stderr } = await bench(wrong);
      expect(code).toBe(2);
      expect(stdout).toBe("");
      expect(stderr).toMatch(/speed|--fast/);
      for (const name of [
        "tasks",
        "assignment",
        "messages",
        "tokens",
        "discovery",
        "routing",
        "waiting",
      ]) {
        expect(stderr).toContain(`\n  ${name} `);
      }
    }
  });

  it(
    "measures everything in a quick run, into a table and under stable keys",
    async () => {
      const file = join(folder, "figures.json");
      const { code, stdout, stderr } = await bench(["--quick", "--json", file]);
      expect(stderr).not.toContain("could not be measured");
      expect(code).toBe(0);
      expect(stdout).toMatch(/^name +value +unit +load +target$/m);
      expect(stdout).toMatch(/^tasks completed durably +\d/m);
      const json = JSON.parse(readFileSync(file, "utf8")) as Record<string, unknown>;
      for (const key of [
        "tasks_per_second",
        "wal_kib_per_task",
        "rows_written_per_task",
        "dead_tuples_per_task",
        "saturated_assignment_p50_ms",
        "saturated_assignment_p95_ms",
        "saturated_assignment_p99_ms",
        "assignment_p50_ms",
        "assignment_p95_ms",
        "assignment_p99_ms",
        "graphile_tasks_per_second",
        "graphile_local_queue_tasks_per_second",
        "ratio_to_graphile",
        "ratio_to_graphile_local_queue",
        "claims_per_second",
        "claims_behind_backlog_per_second",
        "claims_backlog_ratio",
        "messages_per_second",
        "message_p95_ms",
        "discovery_p95_ms",
        "token_checks_per_second",
        "client_grants_per_second",
        "logins_per_second",
        "waiting_bytes_per_task",
        "routing_nexus_success_percent",
        "routing_least_loaded_p95_ms",
      ]) {
        expect(json[key], key).toBeGreaterThan(0);
      }
      for (const key of ["bullmq_tasks_per_second", "ratio_to_bullmq", "ratio_to_bullmq_always"]) {
        if (hasRedis) expect(json[key], key).toBeGreaterThan(0);
        else expect(json[key], key).toBeNull();
      }
      expect(stdout).toMatch(
        hasRedis
          ? /^peer BullMQ, .*appendfsync everysec/m
          : /^peer BullMQ, .*not measured: no Redis/m,
      );
      const cpu = json["cpu_us_per_task"] as Record<string, number>;
      expect(Object.keys(cpu)).toEqual(expect.arrayContaining(["postgres", "agents", "client"]));
      const memory = json["memory_mib"] as Record<string, number>;
      expect(Object.keys(memory).sort()).toEqual([
        "gateway",
        "insight",
        "mesh-router",
        "orchestrator",
        "registry",
        "vault",
      ]);
      expect(Math.min(...Object.values(memory))).toBeGreaterThan(10);
    },
    RUN_TIMEOUT_MS,
  );

  it(
    "has every process of a profiled run write a profile, which npm run profile reads",
    async () => {
      const profiles = join(folder, "profiles");
      const { code, stdout } = await bench(["--quick", "--profile", profiles, "memory"]);
      expect(code).toBe(0);
      expect(stdout).toContain("profiled: slower than it is");
      const file = join(profiles, "orchestrator.cpuprofile");
      const read = await bench(["--top", "3", file], PROFILE_READER);
      expect(read.code).toBe(0);
      expect(read.stdout).toMatch(/busy \d+ of \d+ ms[\s\S]+by owner of the code:/);
      expect(await bench([], PROFILE_READER)).toMatchObject({ code: 2, stdout: "" });
    },
    RUN_TIMEOUT_MS,
  );
});
