/** Runs every static check in order and stops at the first that fails: `npm run check`.
 *
 * `npm run check -- layers size` runs only the named steps; `--keep-going` runs all of them and fails at the end.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { checkAnatomy } from "./check-anatomy.ts";
import { checkLayers } from "./check-layers.ts";
import { checkReferences } from "./check-references.ts";
import { checkSize } from "./check-size.ts";
import { type Findings, formatProblem } from "./source/problem.ts";

const root = join(import.meta.dirname, "..");
const KEEP_GOING = "--keep-going";
const SECOND_MS = 1000;
const MAX_WARNINGS_SHOWN = 20;

interface Outcome {
  readonly ok: boolean;
  readonly output: string;
}

interface Step {
  readonly name: string;
  run(): Promise<Outcome>;
}

/** `generate` first, since contracts import the third-party protos that it writes; then cheap before dear, what needs the build after `types`. */
const STEPS: readonly Step[] = [
  command("generate", ["tsx", "scripts/generate.ts"]),
  command("proto-lint", ["buf", "lint"]),
  command("proto-format", ["buf", "format", "-d", "--exit-code", "proto"]),
  command("format", ["biome", "check", "--error-on-warnings", "."]),
  findings("layers", checkLayers),
  findings("references", checkReferences),
  findings("size", checkSize),
  findings("anatomy", checkAnatomy),
  command("types", ["tsc", "-b", "tsconfig.build.json"]),
  command("test-types", ["tsc", "-b", "tsconfig.test.json"]),
  command("lint", ["oxlint", "--type-aware", "--deny-warnings"]),
  command("docs", ["tsx", "scripts/write-docs.ts", "--check"]),
  command("dead-code", ["knip", "--no-progress", "--no-config-hints"]),
];

await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<void> {
  const names = args.filter((arg) => arg !== KEEP_GOING);
  const unknown = names.filter((name) => !STEPS.some((step) => step.name === name));
  if (unknown.length > 0) {
    console.error(`unknown step: ${unknown.join(", ")}`);
    console.error(`steps: ${STEPS.map(({ name }) => name).join(" ")}`);
    process.exitCode = 2;
    return;
  }
  const wanted = STEPS.filter(({ name }) => names.length === 0 || names.includes(name));
  const failed = await runSteps(wanted, args.includes(KEEP_GOING));
  if (failed.length > 0) {
    console.error(`\ncheck failed: ${failed.join(", ")}`);
    process.exitCode = 1;
  }
}

async function runSteps(steps: readonly Step[], keepGoing: boolean): Promise<string[]> {
  const failed: string[] = [];
  const startedAt = performance.now();
  for (const step of steps) {
    const stepStartedAt = performance.now();
    const { ok, output } = await step.run();
    console.log(`${ok ? "ok  " : "FAIL"} ${step.name.padEnd(14)} ${secondsSince(stepStartedAt)}`);
    if (output !== "") console.log(indent(output));
    if (ok) continue;
    failed.push(step.name);
    if (!keepGoing) break;
  }
  if (failed.length === 0) {
    console.log(`check passed: ${steps.length} steps in ${secondsSince(startedAt)}`);
  }
  return failed;
}

/** A program of node_modules; its output is shown only when it fails. */
function command(name: string, [program = "", ...args]: readonly string[]): Step {
  const path = join(root, "node_modules/.bin", program);
  return {
    name,
    run: () =>
      new Promise((resolve, reject) => {
        const child = spawn(path, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
        const chunks: Buffer[] = [];
        child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
        child.stderr.on("data", (chunk: Buffer) => chunks.push(chunk));
        child.once("error", reject);
        child.once("close", (code) => {
          const ok = code === 0;
          resolve({ ok, output: ok ? "" : Buffer.concat(chunks).toString("utf8").trimEnd() });
        });
      }),
  };
}

/** A check of our own, run in this process. */
function findings(name: string, check: (root: string) => Findings): Step {
  return {
    name,
    run: async () => {
      const { problems, warnings } = check(root);
      const shown = warnings
        .slice(0, MAX_WARNINGS_SHOWN)
        .map((warning) => `warning: ${formatProblem(warning)}`);
      return {
        ok: problems.length === 0,
        output: [...problems.map(formatProblem), ...shown].join("\n"),
      };
    },
  };
}

function secondsSince(startedAt: number): string {
  return `${((performance.now() - startedAt) / SECOND_MS).toFixed(1)} s`;
}

function indent(text: string): string {
  return text.replaceAll(/^/gm, "     ");
}
