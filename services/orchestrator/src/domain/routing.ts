/** The choice of an agent: who may take a task, who is best, and why. Pure: state, time and chance are passed in. */
import { type LabelConstraint, satisfiesDemands, shareOfWishes } from "./label-constraint.ts";
import { REJECTIONS_MAX } from "./limits.ts";
import type { Factors, Rejection, RejectionReason, RoutingDecision } from "./routing-decision.ts";
import { firstInRange } from "./version-range.ts";

/** What decides which of two tasks goes first. */
export interface TaskRank {
  readonly taskId: string;
  readonly priority: number;
  /** Since when it is ready, epoch milliseconds of the database. */
  readonly readyAtMs: number;
}

/** Higher priority first, then the one that has been ready longest; ids grow with time, so they settle ties. */
export function isTaskBefore(a: TaskRank, b: TaskRank): boolean {
  if (a.priority !== b.priority) return a.priority > b.priority;
  if (a.readyAtMs !== b.readyAtMs) return a.readyAtMs < b.readyAtMs;
  return a.taskId < b.taskId;
}

/** What a task asks of an agent. */
export interface RoutingNeed {
  /** Where the task stands among those that wait. */
  readonly rank: TaskRank;
  readonly capability: string;
  readonly versionRange: string;
  readonly requiredLabels: Readonly<Record<string, string>>;
  readonly preferredLabels: Readonly<Record<string, string>>;
  readonly labelConstraints: readonly LabelConstraint[];
  /** Empty: anywhere. */
  readonly preferredRegion: string;
  /** Slots that it takes. */
  readonly slotCost: number;
  /** The agent that got the last task of the same affinity key, or empty. */
  readonly affinityAgentId: string;
  /** The agent whose attempt of this task just failed: taken only when there is no other. */
  readonly avoidAgentId: string;
  /** The fallback of a refused assignment: taken first when it is eligible. */
  readonly preferAgentId: string;
}

/** How an agent's session stands. */
export type Connection = "CONNECTED" | "DETACHED" | "DRAINING" | "NONE";

/** One capability of an agent: its versions, and what is known about how well it does. */
export interface Skill {
  /** Highest first. */
  readonly versions: readonly string[];
  readonly costMicros: number;
  readonly latencyMs: number | undefined;
  /** Lower bound of the success rate, 0 to 1. */
  readonly lowerBound: number;
  /** How many outcomes stand behind it. */
  readonly evidence: number;
}

/** What routing reads of an agent. */
export interface RoutableAgent {
  readonly agentId: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Where it runs, as it says; may be empty. */
  readonly region: string;
  readonly connection: Connection;
  /** Slots that the session has for tasks. */
  readonly slots: number;
  /** Slots taken by live leases and claims under way. */
  readonly inHand: number;
  /** The task for which its slots are kept, as they become free. */
  readonly keptFor: TaskRank | undefined;
  /** Grows with each assignment; the smallest is the agent that waited longest. */
  readonly lastAssigned: number;
  skill(capability: string): Skill | undefined;
  /** Says whether the breaker of the capability lets one more task through. */
  admits(capability: string, nowMs: number): boolean;
}

/** What a choice is made with. */
export interface RoutingPolicy {
  /** Most slots of one agent that may be taken at once, whatever it has. */
  readonly bulkhead: number;
  /** Share of choices that try the least proven agent instead of the best, 0 to 1. */
  readonly explorationShare: number;
  readonly random: () => number;
}

/** How much each factor counts; they sum to 1.
 *
 * Reputation leads, as a good answer matters most; load comes second, which also spreads tasks over equals. Affinity
 * counts as much as load, so that among equals a task follows its key for as long as the agent has room. A wish for a region
 * counts about as much as one for a label. */
export const WEIGHTS: Factors = {
  reputation: 0.28,
  latency: 0.16,
  load: 0.2,
  cost: 0.05,
  region: 0.06,
  preferred: 0.05,
  affinity: 0.2,
};

/** The factor of what is not known: neither an advantage nor a veto. */
const UNKNOWN_FACTOR = 0.5;
/** Latencies are compared with this much added to both: what differs by less is the noise of short tasks, and must not
 * send all of them to one agent. */
const LATENCY_NOISE_MS = 10;
/** Scores closer than this are a tie. */
const TIE_EPSILON = 1e-9;

/** Returns why an agent cannot take a task now, or undefined when it can. */
export function rejectionOf(
  agent: RoutableAgent,
  need: RoutingNeed,
  bulkhead: number,
  nowMs: number,
): RejectionReason | undefined {
  const skill = agent.skill(need.capability);
  if (skill === undefined) return "CAPABILITY";
  if (firstInRange(skill.versions, need.versionRange) === undefined) return "VERSION";
  if (!carriesAll(agent.labels, need.requiredLabels)) return "LABELS";
  if (!satisfiesDemands(agent.labels, need.labelConstraints)) return "LABEL_CONSTRAINT";
  if (agent.connection === "DRAINING") return "DRAINING";
  if (agent.connection !== "CONNECTED") return "NOT_CONNECTED";
  if (!agent.admits(need.capability, nowMs)) return "BREAKER_OPEN";
  const lack = lackOf(agent, need, bulkhead);
  if (lack !== undefined) {
    return agent.keptFor?.taskId === need.rank.taskId ? "RESERVED_FOR_THIS" : lack;
  }
  if (agent.keptFor !== undefined && isTaskBefore(agent.keptFor, need.rank)) return "RESERVED";
  return undefined;
}

/** What an agent has too little of. */
function lackOf(agent: RoutableAgent, need: RoutingNeed, bulkhead: number) {
  if (agent.inHand >= agent.slots) return "NO_FREE_SLOT";
  if (agent.inHand >= bulkhead) return "BULKHEAD_FULL";
  if (agent.inHand + need.slotCost > Math.min(agent.slots, bulkhead)) return "TOO_FEW_SLOTS";
  return undefined;
}

/** Reasons that are over once enough slots of the agent are free. */
const LACKS: ReadonlySet<RejectionReason | undefined> = new Set([
  "NO_FREE_SLOT",
  "BULKHEAD_FULL",
  "TOO_FEW_SLOTS",
  "RESERVED_FOR_THIS",
] as const);

/** Says whether an agent that cannot take a task for this reason could with all its slots free. */
export function lacksRoomOnly(
  agent: RoutableAgent,
  need: RoutingNeed,
  bulkhead: number,
  reason: RejectionReason | undefined,
): boolean {
  return LACKS.has(reason) && need.slotCost <= Math.min(agent.slots, bulkhead);
}

function carriesAll(
  labels: Readonly<Record<string, string>>,
  wanted: Readonly<Record<string, string>>,
): boolean {
  for (const key in wanted) if (labels[key] !== wanted[key]) return false;
  return true;
}

/** An eligible agent with its score. */
interface Scored<A extends RoutableAgent> {
  readonly agent: A;
  readonly skill: Skill;
  readonly score: number;
}

/** What the agents of one choice are measured with. */
interface Measure {
  readonly bulkhead: number;
  readonly fastestMs: number;
  /** Of those that cost anything. */
  readonly cheapest: number;
}

/** A choice: the decision to store, and the agent itself. */
export interface Choice<A extends RoutableAgent> {
  readonly decision: RoutingDecision;
  /** Undefined when nobody could be chosen. */
  readonly agent: A | undefined;
  /** The exact version of the capability that matched. */
  readonly version: string;
}

/** Chooses among agents that already passed rejectionOf.
 *
 * An agent that just failed the task is set aside while another is there. Ties go to the agent that waited longest
 * (round robin).   Cost: O(eligible), which the caller bounds. */
export function chooseAgent<A extends RoutableAgent>(
  eligible: readonly A[],
  rejected: readonly Rejection[],
  need: RoutingNeed,
  policy: RoutingPolicy,
): Choice<A> {
  const rejections = rejected.slice(0, REJECTIONS_MAX);
  let candidates: readonly A[] = eligible;
  if (need.avoidAgentId !== "" && eligible.length > 1) {
    candidates = eligible.filter((agent) => agent.agentId !== need.avoidAgentId);
    if (candidates.length < eligible.length && rejections.length < REJECTIONS_MAX) {
      rejections.push({ agentId: need.avoidAgentId, reason: "FAILED_BEFORE" });
    }
  }
  const measure = measureOf(candidates, need.capability, policy.bulkhead);
  const scored = scoreAgents(candidates, need, measure);
  const best = pickBest(scored);
  if (best === undefined) return { agent: undefined, version: "", decision: nobody(rejections) };
  const preferred =
    need.preferAgentId === ""
      ? undefined
      : scored.find(({ agent }) => agent.agentId === need.preferAgentId);
  const explorer = preferred === undefined ? pickExplorer(scored, best, policy) : undefined;
  const chosen = explorer ?? preferred ?? best;
  const runnerUp = pickBest(scored, chosen);
  return {
    agent: chosen.agent,
    version: firstInRange(chosen.skill.versions, need.versionRange) ?? "",
    decision: {
      agentId: chosen.agent.agentId,
      score: chosen.score,
      factors: factorsOf(chosen.agent, chosen.skill, need, measure),
      fallbackAgentId: runnerUp?.agent.agentId ?? "",
      fallbackScore: runnerUp?.score ?? 0,
      eligible: scored.length,
      rejections,
      exploration: explorer !== undefined,
    },
  };
}

function nobody(rejections: readonly Rejection[]): RoutingDecision {
  return {
    agentId: "",
    score: 0,
    factors: undefined,
    fallbackAgentId: "",
    fallbackScore: 0,
    eligible: 0,
    rejections,
    exploration: false,
  };
}

function measureOf(
  agents: readonly RoutableAgent[],
  capability: string,
  bulkhead: number,
): Measure {
  let fastestMs = Number.POSITIVE_INFINITY;
  let cheapest = Number.POSITIVE_INFINITY;
  for (const agent of agents) {
    const { latencyMs, costMicros } = agent.skill(capability) as Skill;
    if (latencyMs !== undefined && latencyMs < fastestMs) fastestMs = latencyMs;
    if (costMicros > 0 && costMicros < cheapest) cheapest = costMicros;
  }
  return { bulkhead, fastestMs, cheapest };
}

function scoreAgents<A extends RoutableAgent>(
  agents: readonly A[],
  need: RoutingNeed,
  measure: Measure,
): Scored<A>[] {
  const scored: Scored<A>[] = [];
  for (const agent of agents) {
    const skill = agent.skill(need.capability) as Skill;
    scored.push({ agent, skill, score: scoreOf(agent, skill, need, measure) });
  }
  return scored;
}

/** Adds up the factors by their weights. Of the agents that are not chosen nobody asks for them, so they are no object, which would have
 * a number in memory for each. */
function scoreOf(agent: RoutableAgent, skill: Skill, need: RoutingNeed, measure: Measure): number {
  return (
    clamp(skill.lowerBound) * WEIGHTS.reputation +
    latencyOf(skill, measure) * WEIGHTS.latency +
    loadOf(agent, measure) * WEIGHTS.load +
    costOf(skill, measure) * WEIGHTS.cost +
    regionOf(agent, need) * WEIGHTS.region +
    wishesOf(agent, need) * WEIGHTS.preferred +
    affinityOf(agent, need) * WEIGHTS.affinity
  );
}

/** Those that the decision is stored with. */
function factorsOf(
  agent: RoutableAgent,
  skill: Skill,
  need: RoutingNeed,
  measure: Measure,
): Factors {
  return {
    reputation: clamp(skill.lowerBound),
    latency: latencyOf(skill, measure),
    load: loadOf(agent, measure),
    cost: costOf(skill, measure),
    region: regionOf(agent, need),
    preferred: wishesOf(agent, need),
    affinity: affinityOf(agent, need),
  };
}

function latencyOf({ latencyMs }: Skill, { fastestMs }: Measure): number {
  return latencyMs === undefined ? UNKNOWN_FACTOR : latencyFactor(fastestMs, latencyMs);
}

function loadOf(agent: RoutableAgent, { bulkhead }: Measure): number {
  const capacity = Math.min(agent.slots, bulkhead);
  return clamp((capacity - agent.inHand) / capacity);
}

/** Free beats the cheapest price, which gets a half; twice the price gets a third. */
function costOf({ costMicros }: Skill, { cheapest }: Measure): number {
  return costMicros <= 0 ? 1 : cheapest / (cheapest + costMicros);
}

function regionOf(agent: RoutableAgent, { preferredRegion }: RoutingNeed): number {
  return preferredRegion === "" || preferredRegion === agent.region ? 1 : 0;
}

function wishesOf(agent: RoutableAgent, need: RoutingNeed): number {
  return shareOfWishes(agent.labels, need.preferredLabels, need.labelConstraints);
}

function affinityOf(agent: RoutableAgent, { affinityAgentId }: RoutingNeed): number {
  return affinityAgentId === "" || affinityAgentId === agent.agentId ? 1 : 0;
}

function clamp(value: number): number {
  return Math.min(1, Math.max(0, value));
}

function latencyFactor(fastestMs: number, mineMs: number): number {
  return clamp((fastestMs + LATENCY_NOISE_MS) / (Math.max(0, mineMs) + LATENCY_NOISE_MS));
}

function pickBest<A extends RoutableAgent>(
  scored: readonly Scored<A>[],
  without?: Scored<A>,
): Scored<A> | undefined {
  let best: Scored<A> | undefined;
  for (const entry of scored) {
    if (entry === without) continue;
    if (best === undefined || entry.score > best.score + TIE_EPSILON) best = entry;
    else if (
      entry.score > best.score - TIE_EPSILON &&
      entry.agent.lastAssigned < best.agent.lastAssigned
    ) {
      best = entry;
    }
  }
  return best;
}

/** Now and then the agent with the least evidence gets a chance, or nobody would ever learn how good it is. */
function pickExplorer<A extends RoutableAgent>(
  scored: readonly Scored<A>[],
  best: Scored<A>,
  policy: RoutingPolicy,
): Scored<A> | undefined {
  if (scored.length < 2 || policy.random() >= policy.explorationShare) return undefined;
  let least = best;
  for (const entry of scored) if (entry.skill.evidence < least.skill.evidence) least = entry;
  return least === best ? undefined : least;
}
