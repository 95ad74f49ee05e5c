/** The arithmetic of reputation: decay, score, confidence and what outcomes add. */
import type { Reputation } from "./agent.ts";
import { failureWeightOf } from "./failure-weights.ts";

/** 95 % two-sided: the 0.975 quantile of the standard normal distribution. */
const Z = 1.959963984540054;
const Z_SQUARED = Z * Z;

/** Evidence that every agent is born with: two successes. It never decays and shows in the lower bound only.
 *
 * Without it a new agent's bound would be 0 and it would never be chosen while anyone else is there; with it a newcomer
 * stands at 0.34: above an agent with 4 of 10 good ones, below one with 4 of 5. */
export const PRIOR_SUCCESSES = 2;

/** Share of a new run time in the mean: about the last ten tasks decide it. */
export const LATENCY_ALPHA = 0.2;

/** How well a capability of an agent does, at one moment. */
export interface Standing {
  /** Decayed success rate; 1 without evidence. */
  readonly score: number;
  /** Lower end of the 95 % Wilson interval around the score, prior included. */
  readonly lowerBound: number;
  /** Decayed number of outcomes. */
  readonly evidence: number;
}

/** Ends of attempts that are alike, as far as reputation cares. */
export interface OutcomeEvidence {
  readonly success: boolean;
  /** The attempts' reason; empty on success. */
  readonly reason: string;
  /** How many. */
  readonly attempts: number;
  readonly lastTaskId: string;
  /** Of those that were measured, in their order. */
  readonly runTimesMs: readonly number[];
}

/** The share of a weight that is left after some time. Time that runs backwards decays nothing. */
export function decayFactor(elapsedMs: number, halfLifeMs: number): number {
  return elapsedMs <= 0 ? 1 : 0.5 ** (elapsedMs / halfLifeMs);
}

/** The lower end of the Wilson score interval for a success share out of a (fractional) number of trials.
 *
 * Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference", JASA 22. */
export function wilsonLowerBound(successes: number, trials: number): number {
  if (trials <= 0) return 0;
  // Numerator and denominator of the textbook form are multiplied by the trials, which may be next to nothing.
  const spread = Math.sqrt((successes * (trials - successes)) / trials + Z_SQUARED / 4);
  return Math.max(0, (successes + Z_SQUARED / 2 - Z * spread) / (trials + Z_SQUARED));
}

/** Sums up weights that are already decayed to now. */
export function standingOf(successWeight: number, failureWeight: number): Standing {
  const evidence = successWeight + failureWeight;
  return {
    score: evidence === 0 ? 1 : successWeight / evidence,
    lowerBound: wilsonLowerBound(successWeight + PRIOR_SUCCESSES, evidence + PRIOR_SUCCESSES),
    evidence,
  };
}

/** What a reputation says at a moment; a capability without one stands like a new agent's. */
export function standingAt(
  reputation: Reputation | undefined,
  nowMs: number,
  halfLifeMs: number,
): Standing {
  if (reputation === undefined) return standingOf(0, 0);
  const kept = decayFactor(nowMs - reputation.updatedAtMs, halfLifeMs);
  return standingOf(reputation.successWeight * kept, reputation.failureWeight * kept);
}

/** What all reputations of an agent say together, for questions that name no capability. */
export function pooledStanding(
  reputations: readonly Reputation[],
  nowMs: number,
  halfLifeMs: number,
): Standing {
  let successes = 0;
  let failures = 0;
  for (const reputation of reputations) {
    const kept = decayFactor(nowMs - reputation.updatedAtMs, halfLifeMs);
    successes += reputation.successWeight * kept;
    failures += reputation.failureWeight * kept;
  }
  return standingOf(successes, failures);
}

/** A reputation without any outcome. */
export function newReputation(capability: string, nowMs: number): Reputation {
  return {
    capability,
    successWeight: 0,
    failureWeight: 0,
    succeeded: 0,
    failed: 0,
    meanLatencyMs: undefined,
    lastCause: "",
    updatedAtMs: nowMs,
  };
}

/** Adds outcomes to a reputation, decayed to now first. Returns the same object when they count for nothing. */
export function addOutcomes(
  before: Reputation,
  evidence: OutcomeEvidence,
  nowMs: number,
  halfLifeMs: number,
): Reputation {
  const { success, reason, attempts } = evidence;
  const blame = success ? 0 : failureWeightOf(reason);
  if (!success && blame === 0) return before;
  const kept = decayFactor(nowMs - before.updatedAtMs, halfLifeMs);
  return {
    capability: before.capability,
    successWeight: before.successWeight * kept + (success ? attempts : 0),
    failureWeight: before.failureWeight * kept + blame * attempts,
    succeeded: before.succeeded + (success ? attempts : 0),
    failed: before.failed + (success ? 0 : attempts),
    meanLatencyMs: nextLatencyMs(before.meanLatencyMs, evidence),
    lastCause: `${success ? "SUCCEEDED" : reason || "FAILED"} ${evidence.lastTaskId}`,
    // A clock that stepped back must not make old evidence look younger than it is.
    updatedAtMs: Math.max(nowMs, before.updatedAtMs),
  };
}

/** Only successes say how long the work takes: a failure may be quick because nothing was done. */
function nextLatencyMs(
  before: number | undefined,
  { success, runTimesMs }: OutcomeEvidence,
): number | undefined {
  if (!success) return before;
  let mean = before;
  for (const runTimeMs of runTimesMs) {
    mean = mean === undefined ? runTimeMs : mean + LATENCY_ALPHA * (runTimeMs - mean);
  }
  return mean;
}
