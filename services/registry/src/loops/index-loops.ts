/** Loops that keep the index current. */
import type { LoopOptions } from "@nexus/runtime";
import type { AgentKey } from "../domain/agent.ts";
import type { CapabilityIndex } from "../domain/capability-index.ts";
import type { IndexFollower } from "../domain/index-follower.ts";

/** A loop without its logger, which the service's frame adds. */
export type LoopSpec = Omit<LoopOptions, "logger">;

/** Follows the change feed; triggered by own commits and by pokes from other replicas. */
export function followChanges(follower: IndexFollower, intervalMs: number): LoopSpec {
  return { name: "follow-changes", intervalMs, step: () => follower.catchUp() };
}

/** A poke that nobody asked for costs a millisecond and reaches replicas whose trigger was lost. */
const ANNOUNCE_IDLE_MS = 60_000;

/** Pokes the other replicas; triggered by own commits, of which it joins those that happen meanwhile. */
export function announceChanges(announce: () => Promise<void>): LoopSpec {
  return { name: "announce-changes", intervalMs: ANNOUNCE_IDLE_MS, step: announce };
}

/** Pause between two readings of when agents were last seen. */
export const SEEN_INTERVAL_MS = 5_000;

/** Renewals write no change, so the index learns the times of the last reports by reading them now and then. */
export function refreshSeen(
  index: CapabilityIndex,
  seenSince: (sinceMs: number) => Promise<readonly (AgentKey & { readonly seenAtMs: number })[]>,
): LoopSpec {
  let sinceMs = 0;
  return {
    name: "refresh-seen",
    intervalMs: SEEN_INTERVAL_MS,
    step: async () => {
      for (const { seenAtMs, ...key } of await seenSince(sinceMs)) {
        index.putSeen(key, seenAtMs);
        sinceMs = Math.max(sinceMs, seenAtMs);
      }
    },
  };
}
