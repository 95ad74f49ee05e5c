/** Ends a test run with `N passed, N failed` alone on the last line.
 *
 * The line never says "0 failed" about a run that failed: a file that cannot be loaded and an error outside
 * any test count as one failure each. A run in which no test ran is a failure too.
 */
import { writeFileSync, writeSync } from "node:fs";
import type { SerializedError, TestModule } from "vitest/node";
import type { Reporter } from "vitest/reporters";

/** When set, the line goes to this file and `.ci/run` prints it after everything else. */
const COUNT_FILE_VARIABLE = "NEXUS_TEST_COUNT_FILE";
const STDOUT = 1;

/** How many tests ended in each way. */
export interface TestCount {
  passed: number;
  failed: number;
  skipped: number;
}

/** Counts from vitest's own results and writes the line when the process ends. */
export class CountReporter implements Reporter {
  #count: TestCount | undefined;

  onInit(): void {
    process.once("exit", () => this.#report());
  }

  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): void {
    this.#count = countTests(modules, unhandledErrors.length);
    if (this.#count.passed + this.#count.failed === 0) process.exitCode = 1;
  }

  #report(): void {
    if (this.#count === undefined) return;
    const line = `${formatCount(this.#count)}\n`;
    const file = process.env[COUNT_FILE_VARIABLE];
    if (file === undefined) writeSync(STDOUT, line);
    else writeFileSync(file, line);
  }
}

function countTests(modules: readonly TestModule[], outsideErrors: number): TestCount {
  const count: TestCount = { passed: 0, failed: outsideErrors, skipped: 0 };
  for (const module of modules) {
    for (const test of module.children.allTests()) {
      const state = test.result().state;
      if (state === "passed") count.passed += 1;
      else if (state === "failed") count.failed += 1;
      else count.skipped += 1;
    }
    count.failed += module.errors().length;
    for (const suite of module.children.allSuites()) count.failed += suite.errors().length;
  }
  return count;
}

/** Prints the skipped tests only when there are any, so that a skip is seen. */
export function formatCount(count: TestCount): string {
  const skipped = count.skipped > 0 ? `, ${count.skipped} skipped` : "";
  return `${count.passed} passed, ${count.failed} failed${skipped}`;
}
