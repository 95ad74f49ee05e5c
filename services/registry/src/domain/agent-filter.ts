/** Whether an agent satisfies a discovery, and why not. */
import type { AgentState, AgentView } from "./agent.ts";
import { freeSlotsOf, stateOf } from "./agent.ts";
import { type CapabilityDefinition, WORD_IN_AGENT_NAME } from "./capability-definition.ts";
import type { IndexedAgent } from "./capability-index.ts";
import type { VersionRange } from "./version-range.ts";

/** What a discovery asks for, parsed. */
export interface AgentCriteria {
  /** Empty means any. */
  readonly capability: string;
  readonly range: VersionRange;
  readonly rangeText: string;
  readonly requiredLabels: readonly (readonly [string, string])[];
  readonly tags: readonly string[];
  /** Lower-case words that must all occur. */
  readonly words: readonly string[];
  readonly states: ReadonlySet<AgentState>;
  readonly minFreeSlots: number;
  readonly minReputation: number;
}

/** A stable word for why an agent was not chosen. */
export type RejectionReason =
  | "VERSION"
  | "LABELS"
  | "TAGS"
  | "TEXT"
  | "STATE"
  | "FREE_SLOTS"
  | "REPUTATION";

/** Why an agent was not chosen. */
export interface Rejection {
  readonly reason: RejectionReason;
  /** For people. */
  readonly message: string;
}

/** The capability that satisfied a discovery; undefined when the discovery asks nothing of capabilities. */
export interface CapabilityMatch {
  readonly definition: CapabilityDefinition | undefined;
  /** Mean weight of the searched words, 0 to 1; 1 when none were given. */
  readonly text: number;
}

/** What a definition says to the criteria whatever agent has it. */
interface DefinitionVerdict {
  readonly rejection: Rejection | undefined;
  /** Weight of each searched word in the definition, 0 for one that does not occur; only when not rejected. */
  readonly wordWeights: readonly number[];
}

/** Judges agents by one set of criteria, remembering its verdict on each definition. Make one per discovery. */
export class AgentFilter {
  readonly #criteria: AgentCriteria;
  readonly #verdicts = new Map<CapabilityDefinition, DefinitionVerdict>();
  readonly #asksOfCapabilities: boolean;

  constructor(criteria: AgentCriteria) {
    this.#criteria = criteria;
    const { range, tags, words } = criteria;
    this.#asksOfCapabilities = range !== undefined || tags.length > 0 || words.length > 0;
  }

  /** Finds the best capability of an agent: the highest version in the range that carries tags and words. */
  matchCapability(agent: IndexedAgent): CapabilityMatch | Rejection {
    const { capability } = this.#criteria;
    if (capability !== "") return this.#matchAmong(agent, agent.offers.get(capability) ?? []);
    if (!this.#asksOfCapabilities) return { definition: undefined, text: 1 };
    return this.#matchAmong(agent, [...agent.offers.values()].flat());
  }

  /** Says what about the agent itself is not as asked; reputation is left to checkReputation. */
  checkAgent(view: AgentView): Rejection | undefined {
    const { requiredLabels, states, minFreeSlots } = this.#criteria;
    for (const [name, value] of requiredLabels) {
      const actual = Object.hasOwn(view.record.labels, name) ? view.record.labels[name] : undefined;
      if (actual !== value) {
        const has = actual === undefined ? "is not set" : `is "${actual}"`;
        return { reason: "LABELS", message: `label ${name} ${has}, not "${value}"` };
      }
    }
    const state = stateOf(view);
    if (!states.has(state)) return { reason: "STATE", message: `state is ${state}` };
    const free = freeSlotsOf(view);
    if (free < minFreeSlots) {
      return { reason: "FREE_SLOTS", message: `free slots are ${free} of ${minFreeSlots} wanted` };
    }
    return undefined;
  }

  /** Says whether the reputation's lower bound is too low. */
  checkReputation(lowerBound: number): Rejection | undefined {
    const { minReputation } = this.#criteria;
    if (lowerBound >= minReputation) return undefined;
    const message = `reputation is ${lowerBound.toFixed(3)}, below ${minReputation}`;
    return { reason: "REPUTATION", message };
  }

  #matchAmong(
    agent: IndexedAgent,
    definitions: readonly CapabilityDefinition[],
  ): CapabilityMatch | Rejection {
    let furthest: Rejection | undefined;
    for (const definition of definitions) {
      const verdict = this.#verdictOn(definition);
      const outcome = verdict.rejection ?? this.#matchWords(agent, definition, verdict);
      if ("text" in outcome) return outcome;
      if (furthest === undefined || STEP[outcome.reason] > STEP[furthest.reason]) {
        furthest = outcome;
      }
    }
    return furthest ?? { reason: "VERSION", message: "it has no capabilities" };
  }

  #matchWords(
    agent: IndexedAgent,
    definition: CapabilityDefinition,
    verdict: DefinitionVerdict,
  ): CapabilityMatch | Rejection {
    const { words } = this.#criteria;
    if (words.length === 0) return { definition, text: 1 };
    let sum = 0;
    for (const [position, word] of words.entries()) {
      const inAgent = agent.words.has(word) ? WORD_IN_AGENT_NAME : 0;
      const weight = Math.max(verdict.wordWeights[position] ?? 0, inAgent);
      if (weight === 0) return { reason: "TEXT", message: `the word "${word}" does not occur` };
      sum += weight;
    }
    return { definition, text: sum / words.length };
  }

  #verdictOn(definition: CapabilityDefinition): DefinitionVerdict {
    const known = this.#verdicts.get(definition);
    if (known !== undefined) return known;
    const verdict = this.#judge(definition);
    this.#verdicts.set(definition, verdict);
    return verdict;
  }

  #judge(definition: CapabilityDefinition): DefinitionVerdict {
    const { range, rangeText, tags, words } = this.#criteria;
    const { version, capability } = definition;
    if (range !== undefined && (version === undefined || !range.test(version))) {
      const message = `version ${capability.version} is not in ${rangeText}`;
      return { rejection: { reason: "VERSION", message }, wordWeights: [] };
    }
    const missing = tags.find((tag) => !definition.tags.has(tag));
    if (missing !== undefined) {
      const message = `tag "${missing}" is not set`;
      return { rejection: { reason: "TAGS", message }, wordWeights: [] };
    }
    const wordWeights = words.map((word) => definition.words.get(word) ?? 0);
    return { rejection: undefined, wordWeights };
  }
}

/** How far a capability came before it was turned down: the furthest says most about what is missing. */
const STEP: Readonly<Record<RejectionReason, number>> = {
  VERSION: 0,
  TAGS: 1,
  TEXT: 2,
  LABELS: 3,
  STATE: 4,
  FREE_SLOTS: 5,
  REPUTATION: 6,
};
