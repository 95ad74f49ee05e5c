/** ReputationTracker: turns the outcomes of tasks into reputations. */
import { type AgentKey, keyText } from "./agent.ts";
import type {
  Outcome,
  RegistryEvents,
  ReputationAfter,
  ReputationBefore,
  ReputationStore,
} from "./ports.ts";
import { addOutcome, newReputation } from "./reputation.ts";

/** Counts outcomes. */
export interface ReputationTracker {
  /** Counts a batch, each outcome at most once in 24 h, and returns how many were new and belong to a registered agent.
   *
   * One transaction: on an error nothing was counted and the batch may be sent again whole. */
  report(outcomes: readonly Outcome[]): Promise<number>;
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
    report: async (outcomes) => {
      const distinct = distinctOutcomes(outcomes);
      const { counted, change } = await deps.reputations.count(distinct, (before, fresh, nowMs) =>
        foldOutcomes(before, fresh, { nowMs, halfLifeMs: deps.halfLifeMs }),
      );
      deps.events.outcomesCounted(counted, outcomes.length - counted);
      if (change !== undefined) deps.onChange();
      return counted;
    },
  };
}

/** Drops repetitions inside one batch: the first of a task and fence stays. */
function distinctOutcomes(outcomes: readonly Outcome[]): Outcome[] {
  const seen = new Set<string>();
  return outcomes.filter(({ taskId, fence }) => {
    const id = `${fence} ${taskId}`;
    if (seen.has(id)) return false;
    seen.add(id);
    return true;
  });
}

/** Adds outcomes, in their order, to the reputations they belong to; returns those that changed.
 *
 * `before` names every capability of every agent that is registered; outcomes of others are left out. */
export function foldOutcomes(
  before: readonly ReputationBefore[],
  outcomes: readonly Outcome[],
  time: { readonly nowMs: number; readonly halfLifeMs: number },
): ReputationAfter[] {
  const known = new Map(before.map((entry) => [reputationKey(entry, entry.capability), entry]));
  const changed = new Map<string, ReputationAfter>();
  for (const outcome of outcomes) {
    const key = reputationKey(outcome, outcome.capability);
    const entry = known.get(key);
    if (entry === undefined) continue;
    const current =
      changed.get(key)?.reputation ??
      entry.reputation ??
      newReputation(outcome.capability, time.nowMs);
    const next = addOutcome(current, outcome, time.nowMs, time.halfLifeMs);
    if (next === current) continue;
    changed.set(key, { namespace: entry.namespace, agentId: entry.agentId, reputation: next });
  }
  return [...changed.values()];
}

function reputationKey(key: AgentKey, capability: string): string {
  return `${keyText(key)}\n${capability}`;
}
