/** The end of an attempt, as registry and insight hear of it. */

/** One ended attempt. */
export interface Outcome {
  /** Grows with each outcome, in the order of commits. */
  readonly position: bigint;
  readonly namespace: string;
  readonly jobId: string;
  readonly taskId: string;
  readonly fence: bigint;
  readonly agentId: string;
  readonly capability: string;
  readonly attempt: number;
  readonly success: boolean;
  /** Empty on success. */
  readonly reason: string;
  readonly readyAt: Date;
  readonly leasedAt: Date;
  /** Unset when the agent never said that it began. */
  readonly startedAt: Date | undefined;
  readonly endedAt: Date;
}

/** Somebody who is told of outcomes. */
export interface OutcomeReceiver {
  /** For metrics and logs. */
  readonly name: string;
  /** Tells a batch. Receivers count each outcome once, so a batch may be told again.
   *
   * Errors: invalid when the receiver will never take it as it is; others are worth another try. */
  send(outcomes: readonly Outcome[], signal: AbortSignal): Promise<void>;
}
