/** One pass over the agents that a discovery may be about: who matches, and who does not and why. */
import { type Agent, type Capability, freeSlotsOf, type Reputation } from "./agent.ts";
import type { AgentFilter, CapabilityMatch, Rejection } from "./agent-filter.ts";
import type { RankingInput } from "./agent-ranking.ts";
import { compareText } from "./capability-definition.ts";
import type { CapabilityIndex, IndexedAgent } from "./capability-index.ts";
import { pooledStanding, standingAt } from "./reputation.ts";
import { createTopList } from "./top-list.ts";

/** An agent that matched, with what it brings to the ranking. */
export interface Match extends RankingInput {
  readonly agent: IndexedAgent;
  readonly capability: Capability | undefined;
}

/** An agent that did not. */
export interface RejectedAgent extends Rejection {
  readonly agentId: string;
}

/** Which agents are looked at, and as of when. */
export interface SearchScope {
  readonly namespace: string;
  /** Empty means any. */
  readonly capability: string;
  readonly nowMs: number;
  readonly reputationHalfLifeMs: number;
  /** How many rejections are kept, by agent id; 0 keeps none. */
  readonly rejectionsMax: number;
}

/** What a search found. */
export interface SearchResult {
  readonly matches: readonly Match[];
  readonly rejections: readonly RejectedAgent[];
}

/** Looks at every agent in the scope. Cost: O(agents with the capability). */
export function searchAgents(
  index: CapabilityIndex,
  filter: AgentFilter,
  scope: SearchScope,
): SearchResult {
  return new Search(index, filter, scope).run();
}

class Search {
  readonly #index: CapabilityIndex;
  readonly #filter: AgentFilter;
  readonly #scope: SearchScope;

  constructor(index: CapabilityIndex, filter: AgentFilter, scope: SearchScope) {
    this.#index = index;
    this.#filter = filter;
    this.#scope = scope;
  }

  run(): SearchResult {
    const { namespace, capability, rejectionsMax } = this.#scope;
    const matches: Match[] = [];
    const rejections = createTopList<RejectedAgent>(rejectionsMax, byAgentId);
    const take = (agent: IndexedAgent, outcome: Match | Rejection): void => {
      if ("agent" in outcome) matches.push(outcome);
      else if (rejectionsMax > 0) {
        const { reason, message } = outcome;
        rejections.offer({ agentId: agent.view.record.agentId, reason, message });
      }
    };
    if (capability === "") {
      for (const agent of this.#index.agentsOf(namespace)) {
        take(agent, this.#judge(agent, this.#filter.matchAnyOffer(agent)));
      }
    } else {
      for (const offer of this.#index.offersOf(namespace, capability)) {
        take(offer.agent, this.#judge(offer.agent, this.#filter.matchOffer(offer)));
      }
    }
    return { matches, rejections: rejections.items };
  }

  #judge(agent: IndexedAgent, match: CapabilityMatch | Rejection): Match | Rejection {
    if ("reason" in match) return match;
    const rejection = this.#filter.checkAgent(agent.view);
    if (rejection !== undefined) return rejection;
    const reputation = this.#reputationOf(agent.view);
    const lowerBound = this.#lowerBoundOf(agent.view, reputation);
    return (
      this.#filter.checkReputation(lowerBound) ??
      this.#matchOf(agent, match, {
        lowerBound,
        measuredMs: reputation?.meanLatencyMs,
      })
    );
  }

  #matchOf(
    agent: IndexedAgent,
    { definition, text }: CapabilityMatch,
    measured: { readonly lowerBound: number; readonly measuredMs: number | undefined },
  ): Match {
    const { presence, record } = agent.view;
    const capability = definition?.capability;
    const hintUs = capability?.latencyHintUs;
    return {
      agent,
      capability: this.#scope.capability === "" ? undefined : capability,
      lowerBound: measured.lowerBound,
      freeSlots: freeSlotsOf(agent.view),
      slots: Math.min(presence?.slots ?? 0, record.slots),
      // What was measured replaces what was promised.
      latencyMs: measured.measuredMs ?? (hintUs === undefined ? undefined : hintUs / US_PER_MS),
      costMicros: Number(capability?.costMicros ?? 0n),
      text,
    };
  }

  #reputationOf({ reputations }: Agent): Reputation | undefined {
    const { capability } = this.#scope;
    for (const reputation of reputations) {
      if (reputation.capability === capability) return reputation;
    }
    return undefined;
  }

  #lowerBoundOf(view: Agent, reputation: Reputation | undefined): number {
    const { capability, nowMs, reputationHalfLifeMs } = this.#scope;
    const standing =
      capability === ""
        ? pooledStanding(view.reputations, nowMs, reputationHalfLifeMs)
        : standingAt(reputation, nowMs, reputationHalfLifeMs);
    return standing.lowerBound;
  }
}

const US_PER_MS = 1_000;

function byAgentId(a: RejectedAgent, b: RejectedAgent): number {
  return compareText(a.agentId, b.agentId);
}
