/** Moments of a hybrid logical clock: they follow physical time and respect causes.
 *
 * Source: Kulkarni et al. 2014, "Logical Physical Clocks". */
import { CLOCK_DRIFT_MAX_MS } from "./state-limits.ts";

/** A moment, and who made it. */
export interface HybridTime {
  readonly physicalMs: number;
  readonly logical: number;
  /** Decides between equal moments of two writers. */
  readonly node: string;
}

/** The contract's largest. */
const LOGICAL_MAX = 2 ** 31 - 1;

/** Orders moments: below 0 when `one` is before `other`. Total, so that everybody chooses the same winner. */
export function compareTimes(one: HybridTime, other: HybridTime): number {
  if (one.physicalMs !== other.physicalMs) return one.physicalMs - other.physicalMs;
  if (one.logical !== other.logical) return one.logical - other.logical;
  if (one.node === other.node) return 0;
  return one.node < other.node ? -1 : 1;
}

/** The next moment after everything that is known: `nowMs` by the database, and what is stored. */
export function nextTime(known: HybridTime | undefined, nowMs: number, node: string): HybridTime {
  const physicalMs = Math.floor(nowMs);
  if (known === undefined || known.physicalMs < physicalMs) return { physicalMs, logical: 0, node };
  if (known.logical < LOGICAL_MAX) {
    return { physicalMs: known.physicalMs, logical: known.logical + 1, node };
  }
  return { physicalMs: known.physicalMs + 1, logical: 0, node };
}

/** Says why a writer's own moment cannot be taken; undefined when it can. One that is older than deleted keys are remembered could
 * bring a deleted value back. */
export function timeProblem(
  { physicalMs }: HybridTime,
  nowMs: number,
  rememberedMs: number,
): string | undefined {
  if (physicalMs > nowMs + CLOCK_DRIFT_MAX_MS) {
    return `is ${Math.ceil(physicalMs - nowMs)} ms ahead of the database; ${CLOCK_DRIFT_MAX_MS} are allowed`;
  }
  if (physicalMs <= nowMs - rememberedMs) return "is older than deleted keys are remembered";
  return undefined;
}
