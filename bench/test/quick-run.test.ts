/** The whole bench, short: every scenario over a real stack. No timing is judged here, only that all is measured. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findRedisServer } from "@nexus/devkit";
import { afterAll, describe, expect, it } from "vitest";
import { LONE_SCENARIOS, SCENARIOS } from "../src/scenarios/index.ts";
import { bench, RUN_TIMEOUT_MS } from "./_bench.ts";

/** Without one the peer is reported as not measured, which is no failure. */
const hasRedis = findRedisServer() !== undefined;

/** One has a stack of its own, and is measured with profiles, which need a run of their own too. */
const NAMES = [...LONE_SCENARIOS, ...SCENARIOS]
  .map(({ name }) => name)
  .filter((name) => name !== "replicas");

const folder = mkdtempSync(join(tmpdir(), "nexus-bench-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("npm run bench", () => {
  it(
    "measures everything in a quick run, into a table and under stable keys",
    async () => {
      const file = join(folder, "figures.json");
      const { code, stdout, stderr } = await bench(["--quick", "--json", file, ...NAMES]);
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
        "claims_behind_new_backlog_per_second",
        "claims_behind_backlog_per_second",
        "claims_backlog_ratio",
        "messages_per_second",
        "message_p95_ms",
        "ephemeral_messages_per_second",
        "durable_messages_per_second",
        "fanout_ephemeral_messages_per_second",
        "fanout_durable_messages_per_second",
        "queue_ephemeral_messages_per_second",
        "queue_durable_messages_per_second",
        "steady_ephemeral_message_p95_ms",
        "state_updates_per_second",
        "idle_sessions",
        "idle_sessions_router_mib",
        "discovery_p95_ms",
        "token_checks_per_second",
        "client_grants_per_second",
        "fleet_grants_per_second",
        "logins_per_second",
        "ratio_of_logins",
        "encrypts_per_second",
        "decrypts_per_second",
        "batched_encrypts_per_second",
        "batched_decrypts_per_second",
        "bare_encrypts_per_second",
        "audit_appends_per_second",
        "audit_proofs_per_second",
        "audit_proof_checks_per_second",
        "audit_leaves_verified_per_second",
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
});
