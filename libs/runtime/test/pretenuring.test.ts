import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";

const run = promisify(execFile);
const FIXTURE = join(import.meta.dirname, "fixtures/queues.mjs");
/** The limits of a service. */
const FLAGS = ["--max-old-space-size=384", "--max-semi-space-size=16"];

it("collects the whole heap for nothing that a quiet time drops behind a busy one", async () => {
  const { stdout } = await run(process.execPath, [...FLAGS, FIXTURE, "--young"]);
  // Node 20 and 24 by themselves do so 50 times.
  expect((JSON.parse(stdout) as { whole: number }).whole).toBeLessThan(5);
});
