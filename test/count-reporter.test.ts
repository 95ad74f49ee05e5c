/** Runs vitest on small trees and reads the last line of its output, as CI does. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { ROOT } from "./_manifests.ts";

const VITEST = join(ROOT, "node_modules/vitest/vitest.mjs");
/** Below node_modules, so that the trees find vitest and no other run finds them. */
const CACHE = join(ROOT, "node_modules/.cache");
mkdirSync(CACHE, { recursive: true });

interface Run {
  readonly code: number | null;
  readonly lastLine: string | undefined;
}

function runVitest(source: string, env: NodeJS.ProcessEnv = {}): Run {
  const folder = mkdtempSync(join(CACHE, "count-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const reporter = JSON.stringify(join(ROOT, "scripts/count-reporter.ts"));
  writeFileSync(
    join(folder, "vitest.config.ts"),
    `import { CountReporter } from ${reporter};
    export default { test: { reporters: ["default", new CountReporter()], exclude: [] } };`,
  );
  writeFileSync(join(folder, "a.test.ts"), `import { expect, it } from "vitest";\n${source}`);
  const { NEXUS_TEST_COUNT_FILE: _, ...inherited } = process.env;
  const { status, stdout } = spawnSync(process.execPath, [VITEST, "run", "--root", folder], {
    encoding: "utf8",
    env: { ...inherited, ...env },
  });
  return { code: status, lastLine: stdout.trimEnd().split("\n").at(-1) };
}

describe("count reporter", () => {
  it.each([
    ["passed tests", 'it("a", () => {}); it("b", () => {});', 0, "2 passed, 0 failed"],
    [
      "a failed test",
      'it("a", () => {}); it("b", () => expect(1).toBe(2));',
      1,
      "1 passed, 1 failed",
    ],
    [
      "a skipped test",
      'it("a", () => {}); it.skip("b", () => {});',
      0,
      "1 passed, 0 failed, 1 skipped",
    ],
    ["no test that ran", 'it.skip("b", () => {});', 1, "0 passed, 0 failed, 1 skipped"],
    ["a file that cannot be loaded", 'throw new Error("broken");', 1, "0 passed, 1 failed"],
    [
      "an error outside any test",
      'it("a", () => { void Promise.reject(new Error("x")); });',
      1,
      "1 passed, 1 failed",
    ],
  ])("ends with the count after %s", (_name, source, code, lastLine) => {
    expect(runVitest(source)).toEqual({ code, lastLine });
  });

  it("writes the count to a file instead when CI asks for it", () => {
    const file = join(mkdtempSync(join(CACHE, "file-")), "count");
    onTestFinished(() => rmSync(join(file, ".."), { recursive: true, force: true }));
    const { lastLine } = runVitest('it("a", () => {});', { NEXUS_TEST_COUNT_FILE: file });
    expect(lastLine).not.toContain("passed, ");
    expect(readFileSync(file, "utf8")).toBe("1 passed, 0 failed\n");
  });
});
