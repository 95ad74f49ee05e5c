/** The whole bench, short: every scenario over a real stack. No timing is judged here, only that all is measured. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";

const PROGRAM = join(import.meta.dirname, "../dist/main.js");
/** Half a minute on a quiet machine. */
const RUN_TIMEOUT_MS = 300_000;

const folder = mkdtempSync(join(tmpdir(), "nexus-bench-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function bench(args: readonly string[]) {
  const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: ["ignore", "pipe", "pipe"] });
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
      for (const name of ["tasks", "assignment", "messages", "tokens", "logins", "discovery"]) {
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
        "assignment_p50_ms",
        "assignment_p95_ms",
        "assignment_p99_ms",
        "messages_per_second",
        "message_p95_ms",
        "discovery_p95_ms",
        "token_checks_per_second",
        "client_grants_per_second",
        "logins_per_second",
      ]) {
        expect(json[key], key).toBeGreaterThan(0);
      }
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
