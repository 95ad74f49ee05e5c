/** Runs `.ci/run` with an npm of our own, to see what it does when a step fails. */
import { spawnSync } from "node:child_process";
import { chmodSync, cpSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ROOT } from "./_manifests.ts";
import { writeTree } from "./_tree.ts";

interface Steps {
  readonly ci?: number;
  readonly check?: number;
  readonly test?: number;
  /** What the reporter would write; absent when no test ran. */
  readonly count?: string;
}

function runCi({ ci = 0, check = 0, test = 0, count }: Steps): {
  code: number | null;
  lines: string[];
} {
  const report = count === undefined ? "" : `echo "${count}" > "$NEXUS_TEST_COUNT_FILE";`;
  const npm = `#!/bin/sh
    echo "npm $*"
    case "$*" in
      ci) exit ${ci} ;;
      "run check") exit ${check} ;;
      test) ${report} exit ${test} ;;
    esac`;
  const root = writeTree({ "bin/npm": npm });
  chmodSync(join(root, "bin/npm"), 0o755);
  mkdirSync(join(root, ".ci"));
  cpSync(join(ROOT, ".ci/run"), join(root, ".ci/run"));
  const env = { ...process.env, PATH: `${join(root, "bin")}:${process.env["PATH"] ?? ""}` };
  const { status, stdout } = spawnSync(join(root, ".ci/run"), { encoding: "utf8", env });
  return { code: status, lines: stdout.trimEnd().split("\n") };
}

describe(".ci/run", () => {
  it("installs, checks, tests and ends with the count", () => {
    expect(runCi({ count: "9 passed, 0 failed" })).toEqual({
      code: 0,
      lines: ["npm ci", "npm run check", "npm test", "9 passed, 0 failed"],
    });
  });

  it("tests also when a check fails, and returns that failure", () => {
    expect(runCi({ check: 3, count: "9 passed, 0 failed" })).toEqual({
      code: 3,
      lines: ["npm ci", "npm run check", "npm test", "9 passed, 0 failed"],
    });
  });

  it("ends with the count of failed tests and fails", () => {
    const { code, lines } = runCi({ test: 1, count: "8 passed, 1 failed" });
    expect(code).toBe(1);
    expect(lines.at(-1)).toBe("8 passed, 1 failed");
  });

  it("prints no count when no test ran", () => {
    expect(runCi({ test: 2 })).toEqual({ code: 2, lines: ["npm ci", "npm run check", "npm test"] });
    expect(runCi({ ci: 7, count: "9 passed, 0 failed" })).toEqual({ code: 7, lines: ["npm ci"] });
  });
});
