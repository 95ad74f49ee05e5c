/** Loops that keep the tables within their bounds. */
import type { LoopOptions } from "@nexus/runtime";
import type { SampleStore } from "../domain/ports.ts";

/** A loop without what the frame adds to it. */
export type LoopSpec = Omit<LoopOptions, "logger">;

const PARTITIONS_INTERVAL_MS = 3_600_000;
const KEYS_INTERVAL_MS = 60_000;

/** Makes room for the days to come and drops those past the retention. */
export function keepPartitions(samples: SampleStore, retentionMs: () => number): LoopSpec {
  return {
    name: "keep-partitions",
    intervalMs: PARTITIONS_INTERVAL_MS,
    step: () => samples.keepPartitions(retentionMs()),
  };
}

/** Forgets the ids of old samples. */
export function pruneKeys(samples: SampleStore): LoopSpec {
  return {
    name: "prune-keys",
    intervalMs: KEYS_INTERVAL_MS,
    step: async () => {
      await samples.pruneKeys();
    },
  };
}
