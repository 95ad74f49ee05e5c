import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const DEMO = join(import.meta.dirname, "../../examples/document-fleet/dist/demo.js");

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "nexus-main-job-"));
  for (let index = 1; index <= 6; index += 1) {
    const text = `# Paper ${index}\n\nThis paper is about leases and fences. ${"It repeats itself on purpose. ".repeat(index * 20)}`;
    writeFileSync(join(folder, `paper-${index}.md`), text);
  }
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

interface Run {
  readonly code: number | null;
  readonly output: string;
}

function runDemo(args: readonly string[]): Promise<Run> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [DEMO, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
    child.stderr.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
    child.on("close", (code) => resolve({ code, output }));
  });
}

describe("the demo", () => {
  it("turns an objective into a report by a planner, analysers and a composer", async () => {
    const report = join(folder, "out.report");
    const { code, output } = await runDemo(["--folder", folder, "--report", report]);
    expect(output).toContain("job is COMPLETED");
    expect(code).toBe(0);
    const text = readFileSync(report, "utf8");
    for (const file of readdirSync(folder).filter((name) => name.endsWith(".md"))) {
      expect(text).toContain(`| ${file} |`);
    }
    expect(output).toMatch(/Attempts: 8 for 8 tasks/);
    for (const line of [
      /planner-1 +nexus\.plan/,
      /analyser-1 +text\.analyse/,
      /composer-1 +report/,
    ]) {
      expect(output).toMatch(line);
    }
    const logs = /logs in ([^)]+)\)/.exec(output)?.[1] ?? "";
    expect(readdirSync(logs)).toContain("planner-1.log");
    expect(readdirSync(join(logs, "stack"))).toEqual(["logs"]);
    rmSync(logs, { recursive: true });
    expect(output).toContain("Latency in ms");
  });

  it("completes although an analyser is killed while it holds a task", async () => {
    const report = join(folder, "out2.report");
    const args = ["--folder", folder, "--report", report, "--kill-an-agent"];
    const { code, output } = await runDemo(args);
    expect(output).toContain("killed with SIGKILL while it held");
    expect(output).toMatch(
      /analyser-1 LOST (AGENT_LOST|ASSIGNMENT_REFUSED) -> analyser-[23] SUCCEEDED/,
    );
    expect(output).toContain("job is COMPLETED");
    expect(code).toBe(0);
    expect(existsSync(report)).toBe(true);
  });

  it("says what is wrong with its arguments and starts nothing", async () => {
    const { code, output } = await runDemo(["--folder", join(folder, "missing")]);
    expect(code).toBe(2);
    expect(output).toContain("There is no folder");
    expect(output).toContain("Usage: npm run demo");
  });
});
