import { type Clock, createSloTracker, type SloTracker } from "@nexus/shared";

/** What is promised of the calls that are passed on. */
export type ObjectiveName = "availability" | "latency";

/** How a call ended: well, by the caller's fault, by ours, or by the caller's leaving. */
export type CodeClass = "ok" | "caller" | "server" | "cancelled";

/** What is promised, and how it is counted. */
export interface ObjectiveOptions {
  /** Share of calls that are answered: any answer but a fault of ours. */
  readonly availability: number;
  /** Share of answered calls that are answered within latencyMaxMs. */
  readonly latency: number;
  readonly latencyMaxMs: number;
  readonly clock: Clock;
}

/** How one objective stands, over WINDOW_MS and by how fast its budget is being spent. */
export interface ObjectiveReport {
  readonly name: ObjectiveName;
  readonly objective: number;
  readonly windowMs: number;
  readonly total: number;
  readonly bad: number;
  readonly met: boolean;
  /** 1 untouched, 0 spent, negative overspent. */
  readonly budgetRemaining: number;
  /** 1 spends exactly the budget over the window. */
  readonly burnRateHour: number;
  readonly burnRateMinutes: number;
}

/** Of this replica since its start: what is promised over weeks is for whoever keeps its metrics. */
const WINDOW_MS = 86_400_000;
const BUCKET_MS = 60_000;
/** The two windows of an alert that is neither late nor nervous (Google SRE workbook, chapter 5). */
const LONG_BURN_MS = 3_600_000;
const SHORT_BURN_MS = 300_000;

/** Counts calls against what is promised of them. */
export class Objectives {
  readonly #trackers: ReadonlyMap<ObjectiveName, SloTracker>;
  readonly #latencyMaxMs: number;

  constructor({ availability, latency, latencyMaxMs, clock }: ObjectiveOptions) {
    const common = { windowMs: WINDOW_MS, bucketMs: BUCKET_MS, clock };
    this.#latencyMaxMs = latencyMaxMs;
    this.#trackers = new Map([
      ["availability", createSloTracker({ objective: availability, ...common })],
      ["latency", createSloTracker({ objective: latency, ...common })],
    ]);
  }

  /** A call ended. `tookMs` is left out where how long it takes is not ours to promise: streams, and what waits for an agent. */
  callEnded(end: CodeClass, tookMs?: number): void {
    if (end === "cancelled") return;
    this.#trackers.get("availability")?.record(end !== "server");
    if (end === "server" || tookMs === undefined) return;
    this.#trackers.get("latency")?.record(tookMs <= this.#latencyMaxMs);
  }

  /** Says whether an end so early breaks no promise: a caller that gave less time than is promised chose that itself. */
  isEarly(tookMs: number | undefined): boolean {
    return tookMs !== undefined && tookMs < this.#latencyMaxMs;
  }

  /** How every objective stands now. */
  report(): ObjectiveReport[] {
    return [...this.#trackers].map(([name, tracker]) => {
      const { objective, windowMs, total, bad, met, budgetRemaining } = tracker.report();
      const burnRateHour = tracker.burnRate(LONG_BURN_MS);
      const burnRateMinutes = tracker.burnRate(SHORT_BURN_MS);
      const now = { total, bad, met, budgetRemaining, burnRateHour, burnRateMinutes };
      return { name, objective, windowMs, ...now };
    });
  }
}
