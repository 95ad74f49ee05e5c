/** What tasks that wait take: the orchestrator's own queue, filled with a million ready tasks. */
import { runOrchestratorStudy } from "../bed/service-study.ts";
import type { Figure, FigureKey } from "../figure.ts";
import { formatCount } from "../report.ts";
import type { LoneScenario } from "./scenario.ts";

const TASKS = 1_000_000;
const TASKS_QUICK = 20_000;

interface Memory {
  readonly bytesPerTask: number;
  readonly residentMib: number;
}

interface Shape {
  readonly tasksPerJob: number;
  readonly bytes: FigureKey;
  readonly resident: FigureKey;
}

const SHAPES: readonly Shape[] = [
  { tasksPerJob: 100, bytes: "waiting_bytes_per_task", resident: "waiting_resident_mib" },
  {
    tasksPerJob: 1,
    bytes: "waiting_single_bytes_per_task",
    resident: "waiting_single_resident_mib",
  },
];

/** Fills one process for each shape. */
export const waitingScenario: LoneScenario = {
  name: "waiting",
  about: "memory of a million ready tasks in the orchestrator's queue",
  measure: async (quick) => {
    const tasks = quick ? TASKS_QUICK : TASKS;
    const figures: Figure[] = [];
    for (const shape of SHAPES) figures.push(...(await measureShape(shape, tasks)));
    return figures;
  },
};

async function measureShape(
  { tasksPerJob, bytes, resident }: Shape,
  tasks: number,
): Promise<Figure[]> {
  const args = ["backlog", String(tasks), String(tasksPerJob)];
  const memory = await runOrchestratorStudy<Memory>(args, ["--expose-gc"]);
  const load = `${formatCount(tasks)} ready tasks, ${tasksPerJob} a job, nothing else in the process`;
  return [
    { key: bytes, value: memory.bytesPerTask, load },
    { key: resident, value: memory.residentMib, load },
  ];
}
