/** The reasons behind one choice of an agent, as stored with the attempt and shown by ExplainTask. */

/** Why an agent could not take a task. */
export type RejectionReason =
  | "CAPABILITY"
  | "VERSION"
  | "LABELS"
  | "LABEL_CONSTRAINT"
  | "NOT_CONNECTED"
  | "DRAINING"
  | "NO_FREE_SLOT"
  | "BULKHEAD_FULL"
  | "TOO_FEW_SLOTS"
  | "RESERVED"
  | "RESERVED_FOR_THIS"
  | "BREAKER_OPEN"
  | "FAILED_BEFORE";

/** An agent that was not eligible. */
export interface Rejection {
  readonly agentId: string;
  readonly reason: RejectionReason;
}

/** The parts of a score, each 0 to 1. */
export interface Factors {
  readonly reputation: number;
  readonly latency: number;
  readonly load: number;
  readonly cost: number;
  readonly region: number;
  readonly preferred: number;
  readonly affinity: number;
}

/** Who was considered and why one was chosen. */
export interface RoutingDecision {
  /** Empty when nobody could be chosen. */
  readonly agentId: string;
  readonly score: number;
  readonly factors: Factors | undefined;
  /** The next best, which gets the task if the chosen one refuses it; empty when there was none. */
  readonly fallbackAgentId: string;
  readonly fallbackScore: number;
  /** How many agents could have taken it, as far as the bounded search looked. */
  readonly eligible: number;
  /** At most REJECTIONS_MAX. */
  readonly rejections: readonly Rejection[];
  readonly exploration: boolean;
}
