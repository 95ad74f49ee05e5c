/** Whether an agent satisfies a discovery, and why not. */
import type { Agent, AgentState } from "./agent.ts";
import { freeSlotsOf, stateOf } from "./agent.ts";
import { type CapabilityDefinition, WORD_IN_AGENT_NAME } from "./capability-definition.ts";
import type { IndexedAgent, Offer } from "./capability-index.ts";
import type { VersionRange } from "./version-range.ts";

/** What a discovery asks for, parsed. */
export interface AgentCriteria {
  readonly range: VersionRange;
  readonly rangeText: string;
  readonly requiredLabels: readonly (readonly [string, string])[];
  readonly tags: readonly string[];
  /** Lower-case words that must all occur. */
  readonly words: readonly string[];
  readonly states: ReadonlySet<AgentState>;
  readonly minFreeSlots: number;
  readonly minReputation: number;
  /** Whether rejections carry messages; making them for thousands of agents takes longer than finding the matches. */
  readonly explain: boolean;
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
  /** For people; empty unless asked for. */
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
  /** Final unless words are searched for, which an agent's own names may hold too. */
  readonly outcome: CapabilityMatch | Rejection;
  /** Weight of each searched word in the definition, 0 for one that does not occur. */
  readonly wordWeights: readonly number[];
}

/** How far a capability came before it was turned down: the furthest says most about what is missing. */
const STEPS: readonly RejectionReason[] = ["VERSION", "TAGS", "TEXT"];

const NO_CONDITIONS: CapabilityMatch = { definition: undefined, text: 1 };

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

  /** Finds the best version in an offer: the highest in the range that carries tags and words. */
  matchOffer({ agent, definitions }: Offer): CapabilityMatch | Rejection {
    let furthest: Rejection | undefined;
    for (const definition of definitions) {
      const verdict = this.#verdictOn(definition);
      const outcome =
        "text" in verdict.outcome && this.#criteria.words.length > 0
          ? this.#matchWords(agent, definition, verdict)
          : verdict.outcome;
      if ("text" in outcome) return outcome;
      furthest = further(furthest, outcome);
    }
    return furthest ?? this.#reject("VERSION", () => "it offers no version");
  }

  /** Finds any capability of an agent that satisfies what is asked of capabilities, if anything is. */
  matchAnyOffer(agent: IndexedAgent): CapabilityMatch | Rejection {
    if (!this.#asksOfCapabilities) return NO_CONDITIONS;
    let furthest: Rejection | undefined;
    for (const offer of agent.offers.values()) {
      const outcome = this.matchOffer(offer);
      if ("text" in outcome) return outcome;
      furthest = further(furthest, outcome);
    }
    return furthest ?? this.#reject("VERSION", () => "it has no capabilities");
  }

  /** Says what about the agent itself is not as asked; reputation is left to checkReputation. */
  checkAgent(view: Agent): Rejection | undefined {
    const { requiredLabels, states, minFreeSlots } = this.#criteria;
    const { labels } = view.record;
    for (const [name, value] of requiredLabels) {
      const actual = Object.hasOwn(labels, name) ? labels[name] : undefined;
      if (actual !== value) {
        const has = () => (actual === undefined ? "is not set" : `is "${actual}"`);
        return this.#reject("LABELS", () => `label ${name} ${has()}, not "${value}"`);
      }
    }
    const state = stateOf(view);
    if (!states.has(state)) return this.#reject("STATE", () => `state is ${state}`);
    if (minFreeSlots === 0) return undefined;
    const free = freeSlotsOf(view);
    if (free >= minFreeSlots) return undefined;
    return this.#reject("FREE_SLOTS", () => `free slots are ${free} of ${minFreeSlots} wanted`);
  }

  /** Says whether the reputation's lower bound is too low. */
  checkReputation(lowerBound: number): Rejection | undefined {
    const { minReputation } = this.#criteria;
    if (lowerBound >= minReputation) return undefined;
    const message = () => `reputation is ${lowerBound.toFixed(3)}, below ${minReputation}`;
    return this.#reject("REPUTATION", message);
  }

  #matchWords(
    agent: IndexedAgent,
    definition: CapabilityDefinition,
    verdict: DefinitionVerdict,
  ): CapabilityMatch | Rejection {
    const { words } = this.#criteria;
    let sum = 0;
    for (const [position, word] of words.entries()) {
      const inAgent = agent.words.has(word) ? WORD_IN_AGENT_NAME : 0;
      const weight = Math.max(verdict.wordWeights[position] ?? 0, inAgent);
      if (weight === 0) return this.#reject("TEXT", () => `the word "${word}" does not occur`);
      sum += weight;
    }
    return { definition, text: sum / words.length };
  }

  #verdictOn(definition: CapabilityDefinition): DefinitionVerdict {
    const known = this.#verdicts.get(definition);
    if (known !== undefined) return known;
    const { words } = this.#criteria;
    const verdict = {
      outcome: this.#judge(definition),
      wordWeights: words.map((word) => definition.words.get(word) ?? 0),
    };
    this.#verdicts.set(definition, verdict);
    return verdict;
  }

  #judge(definition: CapabilityDefinition): CapabilityMatch | Rejection {
    const { range, rangeText, tags } = this.#criteria;
    const { version, capability } = definition;
    if (range !== undefined && (version === undefined || !range.test(version))) {
      return this.#reject("VERSION", () => `version ${capability.version} is not in ${rangeText}`);
    }
    const missing = tags.find((tag) => !definition.tags.has(tag));
    if (missing !== undefined) return this.#reject("TAGS", () => `tag "${missing}" is not set`);
    return { definition, text: 1 };
  }

  #reject(reason: RejectionReason, message: () => string): Rejection {
    return { reason, message: this.#criteria.explain ? message() : "" };
  }
}

function further(a: Rejection | undefined, b: Rejection): Rejection {
  if (a === undefined || STEPS.indexOf(b.reason) > STEPS.indexOf(a.reason)) return b;
  return a;
}
