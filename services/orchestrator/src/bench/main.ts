/** What `bench/` measures of this service alone, without a stack: a program of its own, as nothing may import a service.
 * Takes the name of the study and writes its result to standard output, as JSON. */
import process from "node:process";
import { measureBacklog } from "./backlog-memory.ts";
import { POLICY_NAMES } from "./routing-policies.ts";
import { simulateRouting } from "./routing-simulation.ts";

const [study = "", tasks = "", tasksPerJob = "1"] = process.argv.slice(2);

const STUDIES: Readonly<Record<string, () => unknown>> = {
  routing: () => {
    const options = { seed: 20_261_126, tasks: Number(tasks), tasksPerSecond: 250 };
    return Object.fromEntries(POLICY_NAMES.map((name) => [name, simulateRouting(name, options)]));
  },
  backlog: () => measureBacklog({ tasks: Number(tasks), tasksPerJob: Number(tasksPerJob) }),
};

const run = STUDIES[study];
if (run === undefined) throw new Error(`"${study}" is none of ${Object.keys(STUDIES).join(", ")}`);
process.stdout.write(`${JSON.stringify(run())}\n`);
