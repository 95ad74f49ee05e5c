/** Runs what a service measures of itself, in a process of its own: no stack, no database, no load. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const TIMEOUT_MS = 600_000;

/** Runs a study of the orchestrator (its `src/bench/main.ts`) and returns what it says.
 *
 * Errors: an Error with what the process wrote when it failed. */
export async function runOrchestratorStudy<R>(
  args: readonly string[],
  nodeFlags: readonly string[] = [],
): Promise<R> {
  const program = fileURLToPath(import.meta.resolve("@nexus/task-orchestrator/bench"));
  const { stdout } = await run(process.execPath, [...nodeFlags, program, ...args], {
    timeout: TIMEOUT_MS,
  });
  return JSON.parse(stdout) as R;
}
