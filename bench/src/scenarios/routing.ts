/** How well tasks are routed: the orchestrator's own routing against what is usually done, over one skewed fleet. */
import { runOrchestratorStudy } from "../bed/service-study.ts";
import type { Figure } from "../figure.ts";
import { formatCount } from "../report.ts";
import type { LoneScenario } from "./scenario.ts";

const TASKS = 100_000;
const TASKS_QUICK = 5_000;
const POLICIES = ["nexus", "random", "round_robin", "least_loaded"] as const;

type Results = Readonly<
  Record<(typeof POLICIES)[number], { readonly successShare: number; readonly p95Ms: number }>
>;

/** Simulated: the figures do not depend on the machine. */
export const routingScenario: LoneScenario = {
  name: "routing",
  about:
    "routing over agents of unequal quality, simulated, beside random, round robin and least loaded",
  measure: async (quick) => {
    const tasks = quick ? TASKS_QUICK : TASKS;
    return toFigures(await runOrchestratorStudy<Results>(["routing", String(tasks)]), tasks);
  },
};

function toFigures(results: Results, tasks: number): Figure[] {
  const load = `simulated: ${formatCount(tasks)} tasks at 250/s, 24 agents of five kinds`;
  return POLICIES.flatMap((policy): Figure[] => [
    {
      key: `routing_${policy}_success_percent`,
      value: results[policy].successShare * 100,
      load,
    },
    { key: `routing_${policy}_p95_ms`, value: results[policy].p95Ms, load },
  ]);
}
