/** Whether a great many tasks that wait slow down the claims of others. */
import { MiB } from "@nexus/shared";
import type { Bed } from "../bed/bed.ts";
import { tidyDatabase } from "../bed/database.ts";
import { readServiceMetric, readUsages } from "../bed/metrics.ts";
import type { Figure } from "../figure.ts";
import type { Backlog } from "../load/backlog.ts";
import { monotonicMs } from "../machine-clock.ts";
import type { Stretch } from "../pace.ts";
import { formatCount } from "../report.ts";
import { SATURATION_STRETCH, saturationLoad, underSaturation } from "./saturation.ts";
import { type Scenario, seconds, stretchOf } from "./scenario.ts";

const TASKS_FULL = 1_000_000;
const TASKS_QUICK = 2_000;
/** Within the ten minutes that a command of a worker may take, and the hour that a task waits for an agent. */
const FILL_TIMEOUT_MS = 300_000;
/** A million waiting tasks are more than a deployment of the usual size takes in. */
const HEAP_MIB = 1_536;
const CLAIMS = "nexus_orchestrator_assignments_total";
/** The second measurement finds compiled what the first one ran: both begin when there is little left to compile. */
const STRETCH: Stretch = { ...SATURATION_STRETCH, warmUpMs: 12_000 };
/** Right behind submitting, while the database still works on what was submitted. */
const NEW_STRETCH: Stretch = { warmUpMs: 3_000, measureMs: 10_000 };

/** Saturation before and after the backlog is there. Runs last: what it submits stays. */
export const backlogScenario: Scenario = {
  name: "backlog",
  heapMib: HEAP_MIB,
  about: `claims a second, without and beside ${formatCount(TASKS_FULL)} waiting tasks (${formatCount(TASKS_QUICK)} in a quick run)`,
  run: async (bed) => {
    const tasks = bed.quick ? TASKS_QUICK : TASKS_FULL;
    const client = await bed.client();
    const tidy = () => tidyDatabase(bed.postgresUrl);
    await tidy();
    const empty = await claimsPerSecond(bed, STRETCH);
    bed.progress(`backlog: submitting ${formatCount(tasks)} tasks`);
    const backlog = await client.call("fillBacklog", { tasks, timeoutMs: FILL_TIMEOUT_MS });
    const fresh = await claimsPerSecond(bed, NEW_STRETCH);
    bed.progress("backlog: vacuum and checkpoint of what was submitted");
    await tidy();
    const full = await claimsPerSecond(bed, STRETCH);
    const residentBytes = (await readUsages(bed.info)).get("orchestrator")?.residentBytes ?? 0;
    return toFigures(bed, { empty, fresh, full, backlog, tasks, residentBytes });
  },
};

/** A claim is an assignment that was committed and handed to a router. */
async function claimsPerSecond(bed: Bed, wanted: Stretch): Promise<number> {
  await bed.settle();
  const stretch = stretchOf(bed, wanted);
  const { first, last } = await underSaturation(bed, stretch, async () => {
    const askedAtMs = monotonicMs();
    const claims = await readServiceMetric(bed.info, "orchestrator", CLAIMS);
    return { claims, atMs: (askedAtMs + monotonicMs()) / 2 };
  });
  return ((last.claims - first.claims) / (last.atMs - first.atMs)) * 1_000;
}

interface Measured {
  readonly empty: number;
  /** Right behind submitting. */
  readonly fresh: number;
  readonly full: number;
  readonly backlog: Backlog;
  /** How many were wanted. */
  readonly tasks: number;
  /** Of the orchestrator, which knows every task that waits. */
  readonly residentBytes: number;
}

function toFigures(bed: Bed, measured: Measured): Figure[] {
  const { empty, fresh, full, backlog, tasks, residentBytes } = measured;
  const { jobsInFlight, jobTasks } = saturationLoad(bed);
  const load = `always ${jobsInFlight} jobs of ${jobTasks} tasks under way`;
  const short = backlog.tasks < tasks ? `; ONLY ${formatCount(backlog.tasks)} were submitted` : "";
  const waiting = `${formatCount(backlog.tasks)} tasks wait, half for a capability that nobody has, half in the same queue for a version that nobody has; orchestrator at ${formatCount(residentBytes / MiB)} MiB (submitted in ${seconds(backlog.tookMs)}${short})`;
  return [
    { key: "claims_per_second", value: empty, load },
    {
      key: "claims_behind_new_backlog_per_second",
      value: fresh,
      load: `same load, ${seconds(NEW_STRETCH.measureMs)} right behind submitting, before vacuum`,
    },
    { key: "claims_behind_backlog_per_second", value: full, load: `same load; ${waiting}` },
    { key: "claims_backlog_ratio", value: full / empty, load: "the second / the first" },
  ];
}
