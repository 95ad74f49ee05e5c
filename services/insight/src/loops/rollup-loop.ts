/** The loop that keeps rollups close behind the samples. Every replica runs it; one at a time does the work. */
import type { InsightEvents, RollupStore } from "../domain/ports.ts";
import type { LoopSpec } from "./retention-loops.ts";

/** Packs in one transaction: some ten thousand attempts under load, of which a pack holds about thirty then. */
const ROLLUP_PACKS_MAX = 500;

/** Adds new samples to the rollups. What they lack meanwhile is added up attempt by attempt at each question. */
export function rollUpSamples(
  rollups: RollupStore,
  events: InsightEvents,
  intervalMs: number,
): LoopSpec {
  return {
    name: "roll-up",
    intervalMs,
    step: async (signal) => {
      let packs = ROLLUP_PACKS_MAX;
      while (packs === ROLLUP_PACKS_MAX && !signal.aborted) {
        const round = await rollups.advance(ROLLUP_PACKS_MAX);
        events.samplesRolledUp(round.attempts);
        packs = round.packs;
      }
    },
  };
}
