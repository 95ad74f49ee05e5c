/** The bench as a user runs it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

const PROGRAM = join(import.meta.dirname, "../dist/main.js");

/** A minute on a quiet machine, several times that beside other tests. */
export const RUN_TIMEOUT_MS = 480_000;

/** Runs `npm run bench` with these arguments, or another program of the bench, to its end. */
export async function bench(args: readonly string[], program = PROGRAM) {
  // The Redis of this machine, whatever the environment names.
  const env = { ...process.env, NEXUS_BENCH_REDIS_URL: "" };
  const stdio: ["ignore", "pipe", "pipe"] = ["ignore", "pipe", "pipe"];
  const child = spawn(process.execPath, [program, ...args], { env, stdio });
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
