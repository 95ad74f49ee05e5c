/** Orders test files so that the longest ones do not start last, when one worker would wait for the other.
 *
 * A fresh checkout knows no durations, and vitest then goes by the size of the files; the campaigns are the longest
 * run in one of the shortest files.
 */
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Ends of paths. Of integration those that wait for long and are short themselves; of e2e the longest first, but the bench, which takes all
 * cores, beside what has no faults to live through. */
const LONG_FILES = [
  "libs/devkit/test/start-command.test.ts",
  "services/orchestrator/test/postgres-restart.test.ts",
  "services/orchestrator/test/silent-router.test.ts",
  "services/mesh-router/test/churn.test.ts",
  "test/faults/campaigns.test.ts",
  "test/e2e/operations.test.ts",
  "test/e2e/faults.test.ts",
  "test/faults/mesh-campaigns.test.ts",
  "bench/test/quick-run.test.ts",
  "test/e2e/main-job.test.ts",
];

/** Vitest's own order, but the files that are known to be long before all others. */
export class LongFilesFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const rank = ({ moduleId }: TestSpecification) => {
      const index = LONG_FILES.findIndex((file) => moduleId.endsWith(`/${file}`));
      return index === -1 ? LONG_FILES.length : index;
    };
    return sorted.sort((one, other) => rank(one) - rank(other));
  }
}
