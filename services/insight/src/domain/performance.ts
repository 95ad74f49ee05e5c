/** What analytics answers. */

/** A distribution of durations in microseconds; undefined parts when nothing was measured. */
export interface Latency {
  readonly count: number;
  readonly meanUs: number | undefined;
  readonly p50Us: number | undefined;
  readonly p95Us: number | undefined;
  readonly p99Us: number | undefined;
  readonly maxUs: number | undefined;
}

/** Attempts summed up. */
export interface Performance {
  readonly attempts: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly queueTime: Latency;
  /** Of attempts that succeeded. */
  readonly runTime: Latency;
  /** Most frequent first, at most FAILURE_REASONS_MAX. */
  readonly failuresByReason: ReadonlyMap<string, number>;
}

/** Reasons listed in one summary. */
export const FAILURE_REASONS_MAX = 32;

/** One line of a listing. */
export interface NamedPerformance {
  /** The agent's id or the capability's name. */
  readonly name: string;
  readonly performance: Performance;
}
