import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";

const run = promisify(execFile);
const FIXTURE = join(import.meta.dirname, "fixtures/garbage.mjs");
/** The limits of a service. */
const FLAGS = ["--max-old-space-size=384", "--max-semi-space-size=16"];

/** How often the whole heap is collected for the same garbage. */
async function collections(...args: readonly string[]): Promise<number> {
  const { stdout } = await run(process.execPath, [...FLAGS, FIXTURE, ...args]);
  return (JSON.parse(stdout) as { whole: number }).whole;
}

it("has the whole heap collected less often when it may grow more", async () => {
  const [byItself, grown] = await Promise.all([collections(), collections("300")]);
  expect(2 * grown).toBeLessThan(byItself);
});
