import { type Clock, systemClock } from "./clock.ts";

/** What createSloTracker needs. */
export interface SloOptions {
  /** Share of events that must be good, above 0 and below 1, e.g. 0.999. */
  readonly objective: number;
  /** The window over which the objective is promised, in milliseconds, e.g. 30 days. */
  readonly windowMs: number;
  /** Resolution of the record; default windowMs / 1000, at least one second (or windowMs if that is shorter). */
  readonly bucketMs?: number;
  readonly clock?: Clock;
}

/** The state of an objective over its whole window. */
export interface SloReport {
  readonly objective: number;
  readonly windowMs: number;
  readonly good: number;
  readonly bad: number;
  readonly total: number;
  /** good / total; 1 when nothing happened. */
  readonly sli: number;
  /** Share of events that may be bad: 1 - objective. */
  readonly errorBudget: number;
  /** Share of the error budget that is left: 1 untouched, 0 spent, negative overspent. */
  readonly budgetRemaining: number;
  /** burnRate over the whole window. */
  readonly burnRate: number;
  /** True while the SLI meets the objective. */
  readonly met: boolean;
}

/** Counts good and bad events and says how fast the error budget is being spent. */
export interface SloTracker {
  /** Records one event, or `count` at once. */
  record(good: boolean, count?: number): void;
  report(): SloReport;
  /** Returns the error rate of the last `windowMs` divided by the error budget: 1 spends exactly the budget over
   * the SLO window, 14.4 spends 2 % of a 30-day budget in one hour. 0 when nothing happened.
   *
   * The answer has the resolution of a bucket and reaches back at most the SLO window. */
  burnRate(windowMs: number): number;
}

const BUCKETS_DEFAULT = 1000;
const BUCKET_MIN_MS = 1000;
/** Beyond it a tracker would be a time series, which is another component's work. */
const BUCKETS_MAX = 100_000;

interface Bucket {
  index: number;
  good: number;
  bad: number;
}

function assertOptions(options: SloOptions): void {
  if (!(options.objective > 0 && options.objective < 1)) {
    throw new RangeError(`An objective lies between 0 and 1, got ${options.objective}.`);
  }
  if (!(options.windowMs > 0)) {
    throw new RangeError(`An SLO window is longer than 0 ms, got ${options.windowMs}.`);
  }
}

/** Creates the tracker of one service level objective.
 *
 * Source: Google SRE workbook, chapters 2 and 5 (error budgets, multi-window burn rates). Memory: a ring of at
 * most windowMs / bucketMs buckets, filled as time passes. Cost: record O(1), report O(buckets). */
export function createSloTracker(options: SloOptions): SloTracker {
  assertOptions(options);
  const clock = options.clock ?? systemClock;
  const bucketMs =
    options.bucketMs ??
    Math.min(options.windowMs, Math.max(BUCKET_MIN_MS, options.windowMs / BUCKETS_DEFAULT));
  const bucketCount = Math.ceil(options.windowMs / bucketMs);
  if (!(bucketCount >= 1 && bucketCount <= BUCKETS_MAX)) {
    throw new RangeError(`An SLO tracker has 1 to ${BUCKETS_MAX} buckets, got ${bucketCount}.`);
  }
  const errorBudget = 1 - options.objective;
  const ring = new Map<number, Bucket>();

  function sum(windowMs: number): { good: number; bad: number } {
    const newest = Math.floor(clock.nowMs() / bucketMs);
    const span = Math.min(bucketCount, Math.max(1, Math.ceil(windowMs / bucketMs)));
    let good = 0;
    let bad = 0;
    for (const bucket of ring.values()) {
      if (bucket.index > newest - span && bucket.index <= newest) {
        good += bucket.good;
        bad += bucket.bad;
      }
    }
    return { good, bad };
  }

  function burnRate(windowMs: number): number {
    const { good, bad } = sum(windowMs);
    const total = good + bad;
    return total === 0 ? 0 : bad / total / errorBudget;
  }

  return {
    record(good, count = 1) {
      const index = Math.floor(clock.nowMs() / bucketMs);
      const slot = index % bucketCount;
      let bucket = ring.get(slot);
      if (bucket === undefined || bucket.index !== index) {
        bucket = { index, good: 0, bad: 0 };
        ring.set(slot, bucket);
      }
      if (good) bucket.good += count;
      else bucket.bad += count;
    },
    report() {
      const { good, bad } = sum(options.windowMs);
      const total = good + bad;
      const sli = total === 0 ? 1 : good / total;
      const burn = total === 0 ? 0 : bad / total / errorBudget;
      return {
        objective: options.objective,
        windowMs: options.windowMs,
        good,
        bad,
        total,
        sli,
        errorBudget,
        budgetRemaining: 1 - burn,
        burnRate: burn,
        met: sli >= options.objective,
      };
    },
    burnRate,
  };
}
