/** What the bench does beside measuring: refusals, and profiles. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { bench, RUN_TIMEOUT_MS } from "./_bench.ts";

const PROFILE_READER = join(import.meta.dirname, "../dist/read-profile.js");

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
      const { code, stdout, stderr } = await bench(["--quick", "--profile", profiles, "memory"]);
      expect(code, stderr).toBe(0);
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
