/** The loop that keeps rollups close behind the samples. Every replica runs it; one at a time does the work. */
import type { InsightEvents, RollupStore } from "../domain/ports.ts";
import type { LoopSpec } from "./retention-loops.ts";

/** Samples in one transaction. */
export const ROLLUP_SAMPLES_MAX = 10_000;

/** Adds new samples to the rollups. What they lack meanwhile is added up sample by sample at each question. */
export function rollUpSamples(
  rollups: RollupStore,
  events: InsightEvents,
  intervalMs: number,
): LoopSpec {
  return {
    name: "roll-up",
    intervalMs,
    step: async (signal) => {
      let count = ROLLUP_SAMPLES_MAX;
      while (count === ROLLUP_SAMPLES_MAX && !signal.aborted) {
        count = await rollups.advance(ROLLUP_SAMPLES_MAX);
        events.samplesRolledUp(count);
      }
    },
  };
}
