/** MetricsCollector: takes outcomes in, each once, and answers when they are committed. */
import type { InsightEvents, PackStore } from "./ports.ts";
import { assertStorable, type OutcomeGroup } from "./recorded-outcome.ts";

/** Takes outcomes in. */
export interface MetricsCollector {
  /** Stores what is new of a stream, in one transaction; returns how many outcomes that were.
   *
   * Errors: invalid/POSITIONS_NOT_RISING, invalid/SAMPLE_TIME_INVALID, and then nothing was stored. */
  record(stream: string, groups: readonly OutcomeGroup[], nowMs: number): Promise<number>;
}

/** Creates the collector. Calls share nothing: there is one sender for each stream, with one call under way. */
export function createMetricsCollector(deps: {
  readonly packs: PackStore;
  readonly events: InsightEvents;
}): MetricsCollector {
  return {
    record: async (stream, groups, nowMs) => {
      assertStorable(groups, nowMs);
      const stored = await deps.packs.store(stream, groups);
      const told = groups.reduce((sum, { outcomes }) => sum + outcomes.length, 0);
      deps.events.samplesStored(stored, told - stored);
      return stored;
    },
  };
}
