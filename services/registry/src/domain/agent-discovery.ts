/** AgentDiscovery: finds agents that can do something now, best first, from the index in memory. */
import type { Clock } from "@nexus/shared";
import type { Agent, AgentState, Capability } from "./agent.ts";
import { AgentFilter } from "./agent-filter.ts";
import {
  baselineOf,
  factorsOf,
  type RankingBaseline,
  type RankingFactors,
  scoreOf,
} from "./agent-ranking.ts";
import { type Match, type RejectedAgent, searchAgents } from "./agent-search.ts";
import { ANSWER_BYTES_MAX } from "./agent-size.ts";
import { compareText } from "./capability-definition.ts";
import type { CapabilityIndex } from "./capability-index.ts";
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
  readonly agent: Agent;
  readonly capability: Capability | undefined;
  readonly score: number;
  readonly factors: RankingFactors;
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

/** A place in the list of matches. */
interface Ranked {
  readonly match: Match;
  readonly score: number;
}

/** Creates the discovery over an index. */
export function createAgentDiscovery(deps: AgentDiscoveryDeps): AgentDiscovery {
  const ranges = createVersionRangeParser();
  return {
    discover: (query) => {
      const filter = new AgentFilter({
        range: ranges.parse(query.versionRange),
        rangeText: query.versionRange,
        requiredLabels: Object.entries(query.requiredLabels),
        tags: query.tags,
        words: [...wordsOf(query.text)].slice(0, SEARCH_WORDS_MAX),
        states: new Set(query.states.length === 0 ? DISCOVER_STATES_DEFAULT : query.states),
        minFreeSlots: query.minFreeSlots,
        minReputation: query.minReputation,
        explain: query.explain,
      });
      const limit = query.limit === 0 ? DISCOVER_LIMIT_DEFAULT : query.limit;
      const { matches, rejections } = searchAgents(deps.index, filter, {
        namespace: query.namespace,
        capability: query.capability,
        nowMs: deps.clock.nowMs(),
        reputationHalfLifeMs: deps.reputationHalfLifeMs,
        rejectionsMax: query.explain ? limit : 0,
      });
      const baseline = baselineOf(matches);
      return {
        candidates: candidatesOf(rank(matches, baseline, limit), baseline),
        rejections,
        totalMatches: matches.length,
      };
    },
  };
}

function rank(
  matches: readonly Match[],
  baseline: RankingBaseline,
  limit: number,
): readonly Ranked[] {
  const best = createTopList<Ranked>(limit, compareRanked);
  for (const match of matches) {
    const score = scoreOf(match, baseline);
    const last = best.items.at(-1);
    // Most matches stop here, without an object of their own.
    if (last === undefined || best.items.length < limit || score >= last.score) {
      best.offer({ match, score });
    }
  }
  return best.items;
}

/** Equal scores are ordered by id, so that an answer can be repeated. */
function compareRanked(a: Ranked, b: Ranked): number {
  if (a.score !== b.score) return b.score - a.score;
  return compareText(a.match.agent.view.record.agentId, b.match.agent.view.record.agentId);
}

function candidatesOf(ranking: readonly Ranked[], baseline: RankingBaseline): Candidate[] {
  const candidates: Candidate[] = [];
  let bytes = 0;
  for (const { match, score } of ranking) {
    // A candidate carries its matched capability a second time, which the agent's own size bounds.
    bytes += 2 * match.agent.approximateBytes;
    if (bytes > ANSWER_BYTES_MAX && candidates.length > 0) break;
    const { agent, capability } = match;
    candidates.push({ agent: agent.view, capability, score, factors: factorsOf(match, baseline) });
  }
  return candidates;
}
