/** MetricsCollector: takes samples in, many callers' batches in one commit. */
import { type Batcher, createBatcher, NexusError } from "@nexus/shared";
import type { InsightEvents, SampleStore } from "./ports.ts";
import type { TaskSample } from "./task-sample.ts";

/** Takes samples in and answers once they are committed. */
export interface MetricsCollector {
  /** Stores one caller's batch; returns how many were new.
   *
   * Errors: exhausted/QUEUE_FULL when intake is behind, and then nothing of the batch is stored. */
  record(samples: readonly TaskSample[]): Promise<number>;
  /** Stores what waits, and refuses more. */
  close(): Promise<void>;
}

/** Callers' batches that share one transaction: at most 16 384 rows. */
export const FLUSH_BATCHES_MAX = 32;

/** How long a batch waits for company. */
export const FLUSH_DELAY_MS = 3;

/** Callers' batches that may wait: at most 65 536 rows, some 30 MiB. */
export const QUEUED_BATCHES_MAX = 128;

/** Creates the collector. */
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
      try {
        const stored = await batcher.add(samples);
        deps.events.samplesStored(stored, samples.length - stored);
        return stored;
      } catch (error) {
        if (NexusError.is(error, "exhausted", "QUEUE_FULL")) {
          deps.events.samplesRefused("queue_full");
        }
        throw error;
      }
    },
    close: () => batcher.close(),
  };
}
