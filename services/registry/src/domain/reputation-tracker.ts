/** ReputationTracker: turns the outcomes of tasks into reputations. */
import { NexusError } from "@nexus/shared";
import { type AgentKey, keyText } from "./agent.ts";
import type {
  OutcomeGroup,
  OutcomeTally,
  RegistryEvents,
  ReputationAfter,
  ReputationBefore,
  ReputationStore,
} from "./ports.ts";
import { addOutcomes, newReputation } from "./reputation.ts";

/** Counts outcomes. */
export interface ReputationTracker {
  /** Counts what is new of a stream, and returns how many outcomes that were, of registered agents.
   *
   * One transaction: on an error nothing was counted and the groups may be sent again, with others behind them or without.
   * Errors: invalid/POSITIONS_NOT_RISING. */
  report(stream: string, groups: readonly OutcomeGroup[]): Promise<number>;
}

/** What createReputationTracker needs. */
export interface ReputationTrackerDeps {
  readonly reputations: ReputationStore;
  readonly halfLifeMs: number;
  readonly events: RegistryEvents;
  /** Called after a commit that changed reputations. */
  readonly onChange: () => void;
}

/** Creates the tracker. */
export function createReputationTracker(deps: ReputationTrackerDeps): ReputationTracker {
  return {
    report: async (stream, groups) => {
      assertRising(groups);
      const { counted, change } = await deps.reputations.count(
        stream,
        groups,
        (before, fresh, nowMs) =>
          foldOutcomes(before, fresh, { nowMs, halfLifeMs: deps.halfLifeMs }),
      );
      const reported = groups.reduce((sum, { tallies }) => sum + attemptsOf(tallies), 0);
      deps.events.outcomesCounted(counted, reported - counted);
      if (change !== undefined) deps.onChange();
      return counted;
    },
  };
}

/** Only the last position of a call is kept, so a group behind a later one would never be told apart from a repeated one. */
function assertRising(groups: readonly OutcomeGroup[]): void {
  let last = 0n;
  for (const [index, { position }] of groups.entries()) {
    if (position <= last) {
      throw new NexusError({
        kind: "invalid",
        reason: "POSITIONS_NOT_RISING",
        message: `groups[${index}].position must be above the one before it.`,
      });
    }
    last = position;
  }
}

/** How many attempts ended. */
export function attemptsOf(tallies: readonly OutcomeTally[]): number {
  return tallies.reduce((sum, { attempts }) => sum + attempts, 0);
}

/** Adds outcomes, in their order, to the reputations they belong to; returns those that changed.
 *
 * `before` names every capability of every agent that is registered; outcomes of others are left out. */
export function foldOutcomes(
  before: readonly ReputationBefore[],
  tallies: readonly OutcomeTally[],
  time: { readonly nowMs: number; readonly halfLifeMs: number },
): ReputationAfter[] {
  const known = new Map(before.map((entry) => [reputationKey(entry, entry.capability), entry]));
  const changed = new Map<string, ReputationAfter>();
  for (const tally of tallies) {
    const key = reputationKey(tally, tally.capability);
    const entry = known.get(key);
    if (entry === undefined) continue;
    const current =
      changed.get(key)?.reputation ??
      entry.reputation ??
      newReputation(tally.capability, time.nowMs);
    const next = addOutcomes(current, tally, time.nowMs, time.halfLifeMs);
    if (next === current) continue;
    changed.set(key, { namespace: entry.namespace, agentId: entry.agentId, reputation: next });
  }
  return [...changed.values()];
}

function reputationKey(key: AgentKey, capability: string): string {
  return `${keyText(key)}\n${capability}`;
}
