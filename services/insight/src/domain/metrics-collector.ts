import { type Batcher, createBatcher } from "@nexus/shared";
import type { InsightEvents, SampleStore } from "./ports.ts";
import type { TaskSample } from "./task-sample.ts";

/** Takes samples in and answers once they are committed. */
export interface MetricsCollector {
  /** Stores one caller's batch; returns how many were new.
   *
   * Errors: exhausted/QUEUE_FULL when intake is behind, and then nothing of the batch is stored. */
  record(samples: readonly TaskSample[]): Promise<number>;
  close(): Promise<void>;
}

/** Callers' batches that share one transaction: at most 16 384 rows. */
const FLUSH_BATCHES_MAX = 32;
const FLUSH_DELAY_MS = 3;
const QUEUED_BATCHES_MAX = 256;

/** Creates the collector: batches of many callers are committed together. */
export function createMetricsCollector(deps: {
  readonly samples: SampleStore;
  readonly events: InsightEvents;
}): MetricsCollector {
  const batcher: Batcher<readonly TaskSample[], number> = createBatcher({
    name: "samples",
    maxItems: FLUSH_BATCHES_MAX,
    maxDelayMs: FLUSH_DELAY_MS,
    maxQueued: QUEUED_BATCHES_MAX,
    flush: (batches) => deps.samples.insert(batches),
  });
  return {
    record: async (samples) => {
      const stored = await batcher.add(samples);
      deps.events.samplesStored(stored, samples.length - stored);
      return stored;
    },
    close: () => batcher.close(),
  };
}
