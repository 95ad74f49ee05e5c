/** Loops that keep tables and watchers within their bounds. */
import { type AgentWatches, WATCH_TICK_MS } from "../domain/agent-watches.ts";
import type { LoopSpec } from "./index-loops.ts";

const PRUNE_FEED_INTERVAL_MS = 5_000;
const PRUNE_MEMORY_INTERVAL_MS = 60_000;

/** Deletes old lines of the change feed. */
export function pruneFeed(prune: () => Promise<number>): LoopSpec {
  return {
    name: "prune-feed",
    intervalMs: PRUNE_FEED_INTERVAL_MS,
    step: async () => {
      await prune();
    },
  };
}

/** Forgets requests and streams of outcomes that are old enough. */
export function pruneMemory(steps: readonly (() => Promise<unknown>)[]): LoopSpec {
  return {
    name: "prune-memory",
    intervalMs: PRUNE_MEMORY_INTERVAL_MS,
    step: async () => {
      for (const step of steps) await step();
    },
  };
}

/** Gives silent watchers a sign of life. */
export function tickWatches(watches: AgentWatches): LoopSpec {
  return {
    name: "tick-watches",
    intervalMs: WATCH_TICK_MS,
    step: () => {
      watches.tick();
      return Promise.resolve();
    },
  };
}
