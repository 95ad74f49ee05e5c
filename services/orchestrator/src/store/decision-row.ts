/** A routing decision as it is stored: narrow, since every task has one, which is written when it is leased. */
import type {
  Factors,
  Rejection,
  RejectionReason,
  RoutingDecision,
} from "../domain/routing-decision.ts";

/** Scores and factors are stored to this many parts of one: nobody reads more, and a double has 17 digits. */
const PARTS = 10_000;
/** The order of the stored factors, which never changes. */
const FACTORS: readonly (keyof Factors)[] = [
  "reputation",
  "latency",
  "load",
  "cost",
  "region",
  "preferred",
  "affinity",
];

/** What is stored, without what says nothing. The agent's name is in the row beside it. */
interface ShortDecision {
  readonly score: number;
  readonly factors?: readonly number[];
  readonly fallback?: readonly [agentId: string, score: number];
  readonly eligible: number;
  readonly rejections?: readonly (readonly [agentId: string, reason: RejectionReason])[];
  readonly exploration?: true;
}

/** What a row may hold: rows from before 0018 have the whole decision. */
export type StoredDecision = ShortDecision | RoutingDecision;

/** Writes a decision as JSON. */
export function writeDecision(decision: RoutingDecision): string {
  const { factors, fallbackAgentId, rejections } = decision;
  let text = `{"score":${rounded(decision.score)},"eligible":${decision.eligible}`;
  if (factors !== undefined) {
    const { reputation, latency, load, cost, region, preferred, affinity } = factors;
    text += `,"factors":[${rounded(reputation)},${rounded(latency)},${rounded(load)},${rounded(cost)},${rounded(region)},${rounded(preferred)},${rounded(affinity)}]`;
  }
  if (fallbackAgentId !== "") {
    text += `,"fallback":[${JSON.stringify(fallbackAgentId)},${rounded(decision.fallbackScore)}]`;
  }
  if (rejections.length > 0) text += `,"rejections":[${rejections.map(writeRejection).join(",")}]`;
  return decision.exploration ? `${text},"exploration":true}` : `${text}}`;
}

function writeRejection({ agentId, reason }: Rejection): string {
  return `[${JSON.stringify(agentId)},"${reason}"]`;
}

/** Reads the decision of a lease of this agent. */
export function readDecision(stored: StoredDecision, agentId: string): RoutingDecision {
  if ("agentId" in stored) return stored;
  const [fallbackAgentId, fallbackScore] = stored.fallback ?? ["", 0];
  return {
    agentId,
    score: stored.score,
    factors: stored.factors === undefined ? undefined : toFactors(stored.factors),
    fallbackAgentId,
    fallbackScore,
    eligible: stored.eligible,
    rejections: (stored.rejections ?? []).map(([rejected, reason]) => ({
      agentId: rejected,
      reason,
    })),
    exploration: stored.exploration ?? false,
  };
}

/** The texts of numbers from 0 to 1, each made when it first comes up: a double's text takes longer than all else of a decision. */
const TEXTS: string[] = [];

function rounded(value: number): string {
  const parts = Math.round(value * PARTS);
  const known = TEXTS[parts];
  if (known !== undefined) return known;
  const text = String(parts / PARTS);
  if (parts >= 0 && parts <= PARTS) TEXTS[parts] = text;
  return text;
}

function toFactors(values: readonly number[]): Factors {
  const entries = FACTORS.map((name, index) => [name, values[index] ?? 0] as const);
  return Object.fromEntries(entries) as unknown as Factors;
}
