/** The ends of attempts, as registry and insight hear of them. */

/** What the contract allows for a group: receivers refuse one with more, and none of it would count. */
export const OUTCOMES_PER_GROUP_MAX = 1_000;

/** One ended attempt. */
export interface AttemptOutcome {
  readonly namespace: string;
  readonly jobId: string;
  readonly taskId: string;
  readonly agentId: string;
  readonly capability: string;
  readonly success: boolean;
  /** Empty on success. */
  readonly reason: string;
  /** From ready to leased. */
  readonly queueMs: number;
  /** From leased to ended. */
  readonly runMs: number;
  /** From the agent's word that it began to the end; undefined when it never said so. */
  readonly workMs: number | undefined;
}

/** Writes outcomes as they are stored and sent. */
export interface OutcomeCodec {
  /** Writes what one transaction ended, by 1 000 at most; `endedAtMs` is its time in epoch milliseconds, by the database. */
  writeGroup(position: number, endedAtMs: number, outcomes: readonly AttemptOutcome[]): Buffer;
}

/** What one transaction ended, as it is stored. Sending needs to look into it no more. */
export interface OutcomeGroup {
  /** Grows from group to group of a stream, in the order of commits. */
  readonly position: number;
  /** How many. */
  readonly outcomes: number;
  readonly data: Buffer;
  /** Epoch milliseconds by database time. */
  readonly createdAtMs: number;
}

/** Groups that are told together. */
export interface OutcomeBatch {
  readonly groups: readonly OutcomeGroup[];
  /** Nothing more was there when these were read. */
  readonly isLast: boolean;
}

/** Somebody who is told of outcomes. */
export interface OutcomeReceiver {
  /** For metrics and logs. */
  readonly name: string;
  /** Tells a stretch of a stream. Receivers keep the last position they counted, so it may be told again.
   *
   * Errors: invalid when the receiver will never take it as it is; others are worth another try. */
  send(stream: string, groups: readonly OutcomeGroup[], signal: AbortSignal): Promise<void>;
}
