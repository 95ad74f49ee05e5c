import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";

const run = promisify(execFile);
const FIXTURE = join(import.meta.dirname, "fixtures/buffers.mjs");
/** The limits of a service. */
const FLAGS = ["--max-old-space-size=384", "--max-semi-space-size=16"];

it("lets buffers pass without a collection of the whole heap for each few", async () => {
  const { stdout } = await run(process.execPath, [...FLAGS, FIXTURE, "--counted"]);
  // One for each 64 MiB, as Node 24 does by itself, would be 16.
  expect((JSON.parse(stdout) as { whole: number }).whole).toBeLessThan(5);
});
