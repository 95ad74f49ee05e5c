/** Runs `nexus`, the command, as a user does. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { monotonicMs } from "../machine-clock.ts";

const run = promisify(execFile);
const TIMEOUT_MS = 300_000;

/** Runs the command to its end; returns what it wrote, and how long it took from its start as a process.
 *
 * Errors: an Error with what it wrote when its exit code is not 0. */
export async function runNexus(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<{ readonly stdout: string; readonly tookMs: number }> {
  const program = fileURLToPath(new URL("../bin/nexus.js", import.meta.resolve("@nexus/cli")));
  const beganAtMs = monotonicMs();
  const { stdout } = await run(process.execPath, [program, ...args], {
    env: { ...process.env, ...env },
    timeout: TIMEOUT_MS,
  });
  return { stdout, tookMs: monotonicMs() - beganAtMs };
}
