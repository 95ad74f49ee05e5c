/** A running sum of attempts that can be merged with others: what a rollup holds and a summary is made of. */
import { LatencySketch } from "./latency-sketch.ts";
import { FAILURE_REASONS_MAX, type Latency, type Performance } from "./performance.ts";

/** Reasons one tally tells apart. Agents may invent reasons; further ones are counted together as OTHER_REASON. */
export const TALLY_REASONS_MAX = 256;

/** The reason of failures beyond TALLY_REASONS_MAX. */
export const OTHER_REASON = "OTHER";

/** What attempts have in common that the same agent ran and that ended in the same way. */
export interface AttemptKind {
  readonly agentId: string;
  readonly capability: string;
  readonly success: boolean;
  /** Empty on success. */
  readonly reason: string;
}

/** One attempt, as far as a tally cares. Durations in microseconds. */
export interface TalliedAttempt {
  readonly kind: Pick<AttemptKind, "success" | "reason">;
  readonly queueUs: number | undefined;
  readonly runUs: number | undefined;
}

/** Sums up attempts. */
export class PerformanceTally {
  attempts = 0;
  succeeded = 0;
  readonly queue: LatencySketch;
  /** Of attempts that succeeded. */
  readonly run: LatencySketch;
  readonly #failures = new Map<string, number>();

  constructor(sketches: { readonly queue?: LatencySketch; readonly run?: LatencySketch } = {}) {
    this.queue = sketches.queue ?? new LatencySketch();
    this.run = sketches.run ?? new LatencySketch();
  }

  /** Failures by reason. */
  get failures(): ReadonlyMap<string, number> {
    return this.#failures;
  }

  /** Adds one attempt. */
  add({ kind, queueUs, runUs }: TalliedAttempt): void {
    this.attempts += 1;
    if (queueUs !== undefined) this.queue.add(queueUs);
    if (kind.success) {
      this.succeeded += 1;
      if (runUs !== undefined) this.run.add(runUs);
    } else {
      this.addFailures(kind.reason, 1);
    }
  }

  /** Adds failures of one reason; the attempts themselves are counted by whoever calls. */
  addFailures(reason: string, count: number): void {
    const known = this.#failures.has(reason) || this.#failures.size < TALLY_REASONS_MAX - 1;
    const name = known ? reason : OTHER_REASON;
    this.#failures.set(name, (this.#failures.get(name) ?? 0) + count);
  }

  /** Adds everything that another tally holds. */
  merge(other: PerformanceTally): void {
    this.attempts += other.attempts;
    this.succeeded += other.succeeded;
    this.queue.merge(other.queue);
    this.run.merge(other.run);
    for (const [reason, count] of other.#failures) this.addFailures(reason, count);
  }

  /** What the attempts come to. */
  summary(): Performance {
    const byCount = [...this.#failures].sort(
      ([nameA, a], [nameB, b]) => b - a || (nameA < nameB ? -1 : 1),
    );
    return {
      attempts: this.attempts,
      succeeded: this.succeeded,
      failed: this.attempts - this.succeeded,
      queueTime: latencyOf(this.queue),
      runTime: latencyOf(this.run),
      failuresByReason: new Map(byCount.slice(0, FAILURE_REASONS_MAX)),
    };
  }
}

function latencyOf(sketch: LatencySketch): Latency {
  const [p50Us, p95Us, p99Us] = sketch.quantilesUs([0.5, 0.95, 0.99]);
  return {
    count: sketch.count,
    meanUs: sketch.meanUs,
    p50Us,
    p95Us,
    p99Us,
    maxUs: sketch.maxUs,
  };
}
