/** What each service holds in memory, before and after everything else. */
import { setTimeout as wait } from "node:timers/promises";
import { MiB } from "@nexus/shared";
import type { Bed } from "../bed/bed.ts";
import { readUsages } from "../bed/metrics.ts";
import type { Figure } from "../figure.ts";
import { type Scenario, seconds } from "./scenario.ts";

const SETTLE_MS = 5_000;
const SETTLE_QUICK_MS = 500;

/** Runs first and last. */
export const memoryScenario: Scenario = {
  name: "memory",
  about: "resident memory of each service at rest, and after the load of the other scenarios",
  before: (bed) => measure(bed, "memory_rest_mib", "nothing asked of it yet"),
  run: (bed) => measure(bed, "memory_mib", "after all of the above"),
};

async function measure(
  bed: Bed,
  key: "memory_rest_mib" | "memory_mib",
  when: string,
): Promise<Figure[]> {
  const settleMs = bed.quick ? SETTLE_QUICK_MS : SETTLE_MS;
  await wait(settleMs);
  const load = `${when}, ${seconds(settleMs)} of quiet`;
  return [...(await readUsages(bed.info))].map(([service, { residentBytes }]) => ({
    key,
    service,
    value: residentBytes / MiB,
    load,
  }));
}
