/** AgentDiscovery: finds agents that can do something now, best first, from the index in memory. */
import type { Clock } from "@nexus/shared";
import {
  type AgentState,
  type AgentView,
  type Capability,
  freeSlotsOf,
  type Reputation,
} from "./agent.ts";
import { AgentFilter, type CapabilityMatch, type Rejection } from "./agent-filter.ts";
import {
  baselineOf,
  factorsOf,
  type RankingFactors,
  type RankingInput,
  scoreOf,
} from "./agent-ranking.ts";
import { ANSWER_BYTES_MAX } from "./agent-size.ts";
import { compareText } from "./capability-definition.ts";
import type { CapabilityIndex, IndexedAgent } from "./capability-index.ts";
import { pooledStanding, standingAt } from "./reputation.ts";
import { SEARCH_WORDS_MAX, wordsOf } from "./text-tokens.ts";
import { createTopList } from "./top-list.ts";
import { createVersionRangeParser } from "./version-range.ts";

/** Candidates when the query does not say how many. */
export const DISCOVER_LIMIT_DEFAULT = 20;

/** States that can take work, now or when a slot frees. */
export const DISCOVER_STATES_DEFAULT: readonly AgentState[] = ["ONLINE", "BUSY"];

/** What is wanted. Empty texts and lists ask for nothing. */
export interface DiscoverQuery {
  readonly namespace: string;
  readonly capability: string;
  readonly versionRange: string;
  readonly requiredLabels: Readonly<Record<string, string>>;
  readonly tags: readonly string[];
  readonly text: string;
  readonly states: readonly AgentState[];
  readonly minFreeSlots: number;
  readonly minReputation: number;
  /** 0 means DISCOVER_LIMIT_DEFAULT. */
  readonly limit: number;
  readonly explain: boolean;
}

/** An agent that matched. */
export interface Candidate {
  readonly agent: AgentView;
  readonly capability: Capability | undefined;
  readonly score: number;
  readonly factors: RankingFactors;
}

/** An agent that did not. */
export interface RejectedAgent extends Rejection {
  readonly agentId: string;
}

/** The answer. */
export interface Discovery {
  /** Best first; at most `limit`, fewer when they are too large for one answer. */
  readonly candidates: readonly Candidate[];
  readonly rejections: readonly RejectedAgent[];
  readonly totalMatches: number;
}

/** Answers discoveries. */
export interface AgentDiscovery {
  /** Errors: invalid/VERSION_RANGE_INVALID. Cost: O(agents with the capability), below 5 ms for 10 000. */
  discover(query: DiscoverQuery): Discovery;
}

/** What createAgentDiscovery needs. */
export interface AgentDiscoveryDeps {
  readonly index: CapabilityIndex;
  readonly clock: Clock;
  readonly reputationHalfLifeMs: number;
}

interface Match {
  readonly agent: IndexedAgent;
  readonly input: RankingInput;
  readonly capability: Capability | undefined;
}

interface Scored extends Match {
  readonly factors: RankingFactors;
  readonly score: number;
}

/** Creates the discovery over an index. */
export function createAgentDiscovery(deps: AgentDiscoveryDeps): AgentDiscovery {
  const ranges = createVersionRangeParser();
  return {
    discover: (query) => {
      const filter = new AgentFilter({
        capability: query.capability,
        range: ranges.parse(query.versionRange),
        rangeText: query.versionRange,
        requiredLabels: Object.entries(query.requiredLabels),
        tags: query.tags,
        words: [...wordsOf(query.text)].slice(0, SEARCH_WORDS_MAX),
        states: new Set(query.states.length === 0 ? DISCOVER_STATES_DEFAULT : query.states),
        minFreeSlots: query.minFreeSlots,
        minReputation: query.minReputation,
      });
      const limit = query.limit === 0 ? DISCOVER_LIMIT_DEFAULT : query.limit;
      const found = new Finder(deps, query, filter).run(query.explain ? limit : 0);
      return {
        candidates: candidatesOf(rank(found.matches, limit)),
        rejections: found.rejections,
        totalMatches: found.matches.length,
      };
    },
  };
}

/** One pass over the agents of one query. */
class Finder {
  readonly #query: DiscoverQuery;
  readonly #filter: AgentFilter;
  readonly #index: CapabilityIndex;
  readonly #nowMs: number;
  readonly #halfLifeMs: number;

  constructor(deps: AgentDiscoveryDeps, query: DiscoverQuery, filter: AgentFilter) {
    this.#query = query;
    this.#filter = filter;
    this.#index = deps.index;
    this.#nowMs = deps.clock.nowMs();
    this.#halfLifeMs = deps.reputationHalfLifeMs;
  }

  run(rejectionsMax: number): { matches: Match[]; rejections: readonly RejectedAgent[] } {
    const matches: Match[] = [];
    const rejections = createTopList<RejectedAgent>(rejectionsMax, (a, b) =>
      compareText(a.agentId, b.agentId),
    );
    for (const agent of this.#agents()) {
      const outcome = this.#judge(agent);
      if ("input" in outcome) matches.push(outcome);
      else if (rejectionsMax > 0) {
        rejections.offer({ agentId: agent.view.record.agentId, ...outcome });
      }
    }
    return { matches, rejections: rejections.items };
  }

  #agents(): Iterable<IndexedAgent> {
    const { namespace, capability } = this.#query;
    if (capability === "") return this.#index.agentsOf(namespace);
    return this.#index.offering(namespace, capability);
  }

  #judge(agent: IndexedAgent): Match | Rejection {
    const match = this.#filter.matchCapability(agent);
    if ("reason" in match) return match;
    const rejection = this.#filter.checkAgent(agent.view);
    if (rejection !== undefined) return rejection;
    const reputation = this.#reputationOf(agent.view);
    const lowerBound = this.#lowerBoundOf(agent.view, reputation);
    return (
      this.#filter.checkReputation(lowerBound) ?? {
        agent,
        input: inputOf(agent.view, { match, lowerBound, reputation }),
        capability: this.#query.capability === "" ? undefined : match.definition?.capability,
      }
    );
  }

  #reputationOf({ reputations }: AgentView): Reputation | undefined {
    const { capability } = this.#query;
    return reputations.find((reputation) => reputation.capability === capability);
  }

  #lowerBoundOf(view: AgentView, reputation: Reputation | undefined): number {
    const standing =
      this.#query.capability === ""
        ? pooledStanding(view.reputations, this.#nowMs, this.#halfLifeMs)
        : standingAt(reputation, this.#nowMs, this.#halfLifeMs);
    return standing.lowerBound;
  }
}

const US_PER_MS = 1_000;

/** Measured latency replaces the promised one. */
function inputOf(
  view: AgentView,
  found: { match: CapabilityMatch; lowerBound: number; reputation: Reputation | undefined },
): RankingInput {
  const capability = found.match.definition?.capability;
  const hintUs = capability?.latencyHintUs;
  const promisedMs = hintUs === undefined ? undefined : hintUs / US_PER_MS;
  return {
    lowerBound: found.lowerBound,
    freeSlots: freeSlotsOf(view),
    slots: Math.min(view.presence?.slots ?? 0, view.record.slots),
    latencyMs: found.reputation?.meanLatencyMs ?? promisedMs,
    costMicros: Number(capability?.costMicros ?? 0n),
    text: found.match.text,
  };
}

function rank(matches: readonly Match[], limit: number): readonly Scored[] {
  const baseline = baselineOf(matches.map(({ input }) => input));
  const best = createTopList<Scored>(limit, compareScored);
  for (const match of matches) {
    const factors = factorsOf(match.input, baseline);
    best.offer({ ...match, factors, score: scoreOf(factors) });
  }
  return best.items;
}

/** Equal scores are ordered by id, so that an answer can be repeated. */
function compareScored(a: Scored, b: Scored): number {
  if (a.score !== b.score) return b.score - a.score;
  return compareText(a.agent.view.record.agentId, b.agent.view.record.agentId);
}

function candidatesOf(ranking: readonly Scored[]): Candidate[] {
  const candidates: Candidate[] = [];
  let bytes = 0;
  for (const { agent, capability, score, factors } of ranking) {
    // A candidate carries its matched capability a second time, which the agent's own size bounds.
    bytes += 2 * agent.approximateBytes;
    if (bytes > ANSWER_BYTES_MAX && candidates.length > 0) break;
    candidates.push({ agent: agent.view, capability, score, factors });
  }
  return candidates;
}
