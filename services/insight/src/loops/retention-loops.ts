/** Loops that keep the tables within their bounds. */
import type { LoopOptions } from "@nexus/runtime";

/** A loop without what the frame adds to it. */
export type LoopSpec = Omit<LoopOptions, "logger">;

const PARTITIONS_INTERVAL_MS = 600_000;

/** Makes room for the days to come and drops those past their retention. */
export function keepPartitions(steps: readonly (() => Promise<void>)[]): LoopSpec {
  return {
    name: "keep-partitions",
    intervalMs: PARTITIONS_INTERVAL_MS,
    step: async () => {
      for (const step of steps) await step();
    },
  };
}
