/** AgentLifecycle: where agents' sessions stand, when they count as lost, and when their records end. */
import type { Clock } from "@nexus/shared";
import { keyText } from "./agent.ts";
import type {
  AgentStore,
  ChangedAgents,
  PresenceOutcome,
  PresenceReport,
  PresenceStore,
  RegistryEvents,
} from "./ports.ts";

/** Rows one sweep statement touches at most; a sweep repeats it until it finds fewer. */
export const SWEEP_BATCH_MAX = 256;

/** Batches one sweep runs at most, so that a loop's step stays short. */
export const SWEEP_BATCHES_MAX = 64;

/** Takes in presence and ends what time has run out for. */
export interface AgentLifecycle {
  /** Stores a batch of one router's reports. Of several reports about one agent the highest epoch counts, of those the
   * last. */
  reportPresence(routerId: string, reports: readonly PresenceReport[]): Promise<PresenceOutcome>;
  /** Marks agents LOST whose presence was not renewed in time; returns how many.
   *
   * Waits out one whole period after the start and after every error: while no registry could take reports in, silence
   * says nothing about the agents. */
  expirePresence(): Promise<number>;
  /** Removes records whose time is over; returns how many. */
  expireRecords(): Promise<number>;
}

/** What createAgentLifecycle needs. */
export interface AgentLifecycleDeps {
  readonly presences: PresenceStore;
  readonly agents: AgentStore;
  readonly clock: Clock;
  /** How long a session may go without a report. */
  readonly lostAfterMs: number;
  readonly events: RegistryEvents;
  /** Called after a commit that wrote changes to the feed. */
  readonly onChange: () => void;
}

/** Creates the lifecycle. */
export function createAgentLifecycle(deps: AgentLifecycleDeps): AgentLifecycle {
  const { presences, agents, clock, lostAfterMs, events, onChange } = deps;
  let listeningSinceMs = clock.nowMs();

  async function sweep(step: () => Promise<ChangedAgents>): Promise<ChangedAgents["keys"]> {
    const keys: ChangedAgents["keys"][number][] = [];
    for (let batch = 0; batch < SWEEP_BATCHES_MAX; batch++) {
      const changed = await step();
      keys.push(...changed.keys);
      if (changed.change !== undefined) onChange();
      if (changed.keys.length < SWEEP_BATCH_MAX) break;
    }
    return keys;
  }

  return {
    reportPresence: async (routerId, reports) => {
      const outcome = await presences.report(routerId, latestReports(reports));
      events.presenceReported(outcome, reports.length);
      if (outcome.change !== undefined) onChange();
      return outcome;
    },
    expirePresence: async () => {
      if (clock.nowMs() - listeningSinceMs < lostAfterMs) return 0;
      try {
        const lost = await sweep(() => presences.expire(lostAfterMs, SWEEP_BATCH_MAX));
        for (const key of lost) events.agentLost(key);
        return lost.length;
      } catch (error) {
        listeningSinceMs = clock.nowMs();
        throw error;
      }
    },
    expireRecords: async () => {
      const removed = await sweep(() => agents.removeExpired(SWEEP_BATCH_MAX));
      for (const key of removed) events.agentRemoved(key, "expired");
      return removed.length;
    },
  };
}

function latestReports(reports: readonly PresenceReport[]): PresenceReport[] {
  const latest = new Map<string, PresenceReport>();
  for (const report of reports) {
    const key = keyText(report);
    const known = latest.get(key);
    if (known === undefined || report.epoch >= known.epoch) latest.set(key, report);
  }
  return [...latest.values()];
}
