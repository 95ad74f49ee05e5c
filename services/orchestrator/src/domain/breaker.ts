/** A circuit breaker for one agent and one capability, fed by the outcomes of its tasks. */

/** Where a breaker is. */
export type BreakerState = "CLOSED" | "OPEN" | "HALF_OPEN";

/** What a finished attempt says about the agent. */
export type Verdict = "SUCCESS" | "FAILURE" | "NEUTRAL";

/** When a breaker opens and for how long. */
export interface BreakerPolicy {
  /** Failures in a row that open it. */
  readonly consecutiveFailures: number;
  /** Share of failures among the last `window` outcomes that opens it, once the window is full. */
  readonly failureShare: number;
  readonly window: number;
  /** How long it stays open the first time; doubles with each failed probe. */
  readonly openMs: number;
  readonly openMaxMs: number;
}

/** 5 failures in a row or half of the last 20; open for 10 s, then one probe. */
export const DEFAULT_BREAKER: BreakerPolicy = {
  consecutiveFailures: 5,
  failureShare: 0.5,
  window: 20,
  openMs: 10_000,
  openMaxMs: 300_000,
};

/** Owns the state of one breaker. Time is passed in; nothing is remembered over a restart, which closes it. */
export class Breaker {
  readonly #policy: BreakerPolicy;
  #state: BreakerState = "CLOSED";
  #outcomes: boolean[] = [];
  #streak = 0;
  #openUntilMs = 0;
  #openForMs: number;
  /** The task whose end decides, while HALF_OPEN. */
  #probe: string | undefined;

  constructor(policy: BreakerPolicy = DEFAULT_BREAKER) {
    this.#policy = policy;
    this.#openForMs = policy.openMs;
  }

  /** Where it is now; OPEN turns into HALF_OPEN by time alone. */
  stateAt(nowMs: number): BreakerState {
    if (this.#state === "OPEN" && nowMs >= this.#openUntilMs) {
      this.#state = "HALF_OPEN";
      this.#probe = undefined;
    }
    return this.#state;
  }

  /** Says whether one more task may go through: always when CLOSED, never when OPEN, one at a time when HALF_OPEN. */
  admits(nowMs: number): boolean {
    const state = this.stateAt(nowMs);
    return state === "CLOSED" || (state === "HALF_OPEN" && this.#probe === undefined);
  }

  /** A task was given to the agent: in HALF_OPEN it is the probe. */
  onAssigned(taskId: string, nowMs: number): void {
    if (this.stateAt(nowMs) === "HALF_OPEN") this.#probe = taskId;
  }

  /** A task of the agent ended. While the breaker is not closed, those that were assigned before it opened still end; they say nothing
   * about the agent after that. */
  onOutcome(taskId: string, verdict: Verdict, nowMs: number): void {
    const state = this.stateAt(nowMs);
    if (state === "CLOSED" && verdict !== "NEUTRAL") this.#count(verdict === "FAILURE", nowMs);
    else if (state === "HALF_OPEN" && taskId === this.#probe) this.#onProbe(verdict, nowMs);
  }

  /** Nobody will hear how the probe went: another one may go. */
  forgetProbe(): void {
    this.#probe = undefined;
  }

  /** When an open breaker will let a probe through; undefined unless OPEN. */
  get probeAtMs(): number | undefined {
    return this.#state === "OPEN" ? this.#openUntilMs : undefined;
  }

  #onProbe(verdict: Verdict, nowMs: number): void {
    this.#probe = undefined;
    if (verdict === "SUCCESS") {
      this.#state = "CLOSED";
      this.#outcomes = [];
      this.#streak = 0;
      this.#openForMs = this.#policy.openMs;
    } else if (verdict === "FAILURE") {
      this.#openForMs = Math.min(this.#openForMs * 2, this.#policy.openMaxMs);
      this.#open(nowMs);
    }
  }

  #count(failure: boolean, nowMs: number): void {
    this.#streak = failure ? this.#streak + 1 : 0;
    this.#outcomes.push(failure);
    if (this.#outcomes.length > this.#policy.window) this.#outcomes.shift();
    // Only a failure opens it, and most outcomes are none.
    if (!failure) return;
    const failures = this.#outcomes.filter(Boolean).length;
    const full = this.#outcomes.length === this.#policy.window;
    const tooMany = full && failures >= this.#policy.window * this.#policy.failureShare;
    if (tooMany || this.#streak >= this.#policy.consecutiveFailures) this.#open(nowMs);
  }

  #open(nowMs: number): void {
    this.#state = "OPEN";
    this.#openUntilMs = nowMs + this.#openForMs;
    this.#probe = undefined;
    this.#outcomes = [];
    this.#streak = 0;
  }
}
