/** Three projects, so that a test pays only for what it uses.
 *
 * unit: beside the source and the repository's own checks; no database, no network.
 * integration: `<package>/test`; one embedded Postgres per run, a cloned database per file.
 * e2e: `test/e2e`, `test/faults`, the command's and the bench's program; whole stacks of processes, after everything else.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { defineConfig } from "vitest/config";
import { CountReporter } from "./scripts/count-reporter.ts";
import { LongFilesFirst } from "./scripts/long-files-first.ts";

const root = import.meta.dirname;
const PACKAGES = "{libs,services,apps,examples}/*";
/** Tests beside a package that need all services. */
const ON_A_STACK = "apps/cli/test/**/*.test.ts";
const EXCLUDE = ["**/dist/**", "**/node_modules/**", "**/.nexus/**"];
const TEST_TIMEOUT_MS = 30_000;
const STACK_TIMEOUT_MS = 180_000;
/** Measured boxes have two cores. */
const MAX_WORKERS = 2;
/** Its tests wait for half of their time, for deadlines, leases and answers. */
const INTEGRATION_WORKERS = 4;
/** Two files leave a quarter of the cores idle, while they wait for recoveries and for deadlines. */
const E2E_WORKERS = 3;

/** The build makes these files. Without them, a test that asks for a database, or for a Redis that is not there, fails and says so. */
const databaseSetup = builtSetup("global-setup.js");
const redisSetup = builtSetup("redis-setup.js");

/** What the build made is plain JavaScript already: Node loads it by itself, and nothing has to transform it. */
const BUILT = [/\/(libs|services|apps|examples)\/[^/]+\/dist\//];

/** Loading the code again for each file took longer than the tests: the files of a project share the modules of its workers, so no
 * test may leave anything behind in them. */
const shared = {
  root,
  exclude: EXCLUDE,
  pool: "forks",
  testTimeout: TEST_TIMEOUT_MS,
  hookTimeout: TEST_TIMEOUT_MS * 2,
  server: { deps: { external: BUILT } },
} as const;

export default defineConfig({
  test: {
    reporters: ["default", new CountReporter()],
    sequence: { sequencer: LongFilesFirst },
    projects: [
      {
        test: {
          ...shared,
          name: "unit",
          isolate: false,
          include: [`${PACKAGES}/src/**/*.test.ts`, "bench/src/**/*.test.ts", "test/*.test.ts"],
          maxWorkers: MAX_WORKERS,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          ...shared,
          name: "integration",
          isolate: false,
          include: [`${PACKAGES}/test/**/*.test.ts`],
          exclude: [...EXCLUDE, ON_A_STACK],
          globalSetup: [...databaseSetup, ...redisSetup],
          maxWorkers: INTEGRATION_WORKERS,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          ...shared,
          name: "e2e",
          isolate: false,
          include: ["test/{e2e,faults}/**/*.test.ts", ON_A_STACK, "bench/test/*.test.ts"],
          testTimeout: STACK_TIMEOUT_MS,
          hookTimeout: STACK_TIMEOUT_MS,
          globalSetup: redisSetup,
          maxWorkers: E2E_WORKERS,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});

function builtSetup(file: string): string[] {
  const path = join(root, "libs/testkit/dist", file);
  return existsSync(path) ? [path] : [];
}
