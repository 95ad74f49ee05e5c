/** How matching agents are put in order: five factors, each 0 to 1, and their weights. */

/** The parts of a score. */
export interface RankingFactors {
  /** Reputation lower bound for the capability. */
  readonly reputation: number;
  /** Share of the session's slots that are free. */
  readonly freeSlots: number;
  /** The fastest match's latency divided by this one's. */
  readonly latency: number;
  /** 1 for free, half for the cheapest that costs anything, towards 0 as it gets dearer. */
  readonly cost: number;
  /** Mean weight of the searched words. */
  readonly text: number;
}

/** What each factor is worth; they sum to 1, so a score is between 0 and 1. Doing it well comes first, being able to do it
 * now second; price and wording only separate agents that are otherwise alike. */
export const RANKING_WEIGHTS: Readonly<Record<keyof RankingFactors, number>> = {
  reputation: 0.45,
  freeSlots: 0.2,
  latency: 0.15,
  cost: 0.1,
  text: 0.1,
};

/** Latency of an agent that has none yet and promised none: neither praised nor blamed. */
export const UNKNOWN_LATENCY_FACTOR = 0.5;

/** What an agent brings to the comparison, before it is compared. */
export interface RankingInput {
  readonly lowerBound: number;
  readonly freeSlots: number;
  readonly slots: number;
  readonly latencyMs: number | undefined;
  readonly costMicros: number;
  readonly text: number;
}

/** The best of all matches, against which latency and cost are measured. */
export interface RankingBaseline {
  readonly fastestMs: number | undefined;
  readonly cheapestMicros: number | undefined;
}

/** Finds the fastest and the cheapest of the matches. Cost 0 means unknown or free and is no baseline. */
export function baselineOf(inputs: readonly RankingInput[]): RankingBaseline {
  let fastestMs: number | undefined;
  let cheapestMicros: number | undefined;
  for (const { latencyMs, costMicros } of inputs) {
    if (latencyMs !== undefined && (fastestMs === undefined || latencyMs < fastestMs)) {
      fastestMs = latencyMs;
    }
    if (costMicros > 0 && (cheapestMicros === undefined || costMicros < cheapestMicros)) {
      cheapestMicros = costMicros;
    }
  }
  return { fastestMs, cheapestMicros };
}

/** Compares one match with the baseline. */
export function factorsOf(input: RankingInput, baseline: RankingBaseline): RankingFactors {
  return {
    reputation: input.lowerBound,
    freeSlots: freeShare(input),
    latency: latencyFactor(input.latencyMs, baseline.fastestMs),
    cost: costFactor(input.costMicros, baseline.cheapestMicros),
    text: input.text,
  };
}

/** The weighted sum of the factors. Makes no object, since it runs for every match and few of them are kept. */
export function scoreOf(input: RankingInput, baseline: RankingBaseline): number {
  return (
    RANKING_WEIGHTS.reputation * input.lowerBound +
    RANKING_WEIGHTS.freeSlots * freeShare(input) +
    RANKING_WEIGHTS.latency * latencyFactor(input.latencyMs, baseline.fastestMs) +
    RANKING_WEIGHTS.cost * costFactor(input.costMicros, baseline.cheapestMicros) +
    RANKING_WEIGHTS.text * input.text
  );
}

function freeShare({ freeSlots, slots }: RankingInput): number {
  return slots <= 0 ? 0 : Math.min(1, freeSlots / slots);
}

function latencyFactor(latencyMs: number | undefined, fastestMs: number | undefined): number {
  if (latencyMs === undefined || fastestMs === undefined) return UNKNOWN_LATENCY_FACTOR;
  return latencyMs <= fastestMs ? 1 : fastestMs / latencyMs;
}

function costFactor(costMicros: number, cheapestMicros: number | undefined): number {
  if (costMicros <= 0 || cheapestMicros === undefined) return 1;
  return cheapestMicros / (cheapestMicros + costMicros);
}
