/** What the bench does beside measuring: refusals, and profiles. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findRedisServer } from "@nexus/devkit";
import { afterAll, describe, expect, it } from "vitest";
import { bench, RUN_TIMEOUT_MS } from "./_bench.ts";

const PROFILE_READER = join(import.meta.dirname, "../dist/read-profile.js");

/** With two mesh-routers where this machine has a Redis for them; else with one. */
const SCENARIO = findRedisServer() === undefined ? "memory" : "replicas";

const folder = mkdtempSync(join(tmpdir(), "nexus-bench-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

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
        "vault",
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
    "has every process of a profiled run write a profile, which npm run profile reads",
    async () => {
      const profiles = join(folder, "profiles");
      const json = join(folder, "figures.json");
      const flags = ["--quick", "--profile", profiles, "--json", json];
      const { code, stdout, stderr } = await bench([...flags, SCENARIO]);
      expect(code, stderr).toBe(0);
      if (SCENARIO === "replicas") {
        const figures = JSON.parse(readFileSync(json, "utf8")) as Record<string, unknown>;
        expect(figures["state_watch_elsewhere_p95_ms"]).toBeGreaterThan(0);
        expect(existsSync(join(profiles, "mesh-router-2.cpuprofile"))).toBe(true);
      }
      expect(stdout).toContain("profiled: slower than it is");
      const file = join(profiles, "orchestrator.cpuprofile");
      const read = await bench(["--top", "500", file], PROFILE_READER);
      expect(read.code).toBe(0);
      expect(read.stdout).toMatch(/busy \d+ of \d+ ms[\s\S]+by owner of the code:/);
      // The service ran as one file; what it was made of is told all the same.
      expect(read.stdout).toMatch(/ \(services\/orchestrator\/src\/.+\.ts:\d+\)$/m);
      expect(read.stdout).toMatch(/ % {2}@bufbuild\/protobuf$/m);
      expect(await bench([], PROFILE_READER)).toMatchObject({ code: 2, stdout: "" });
    },
    RUN_TIMEOUT_MS,
  );
});
