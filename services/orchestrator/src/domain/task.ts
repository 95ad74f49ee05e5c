/** What a task is: its immutable spec, and the views of it that reads return. */
import type { EdgePolicy } from "./edge-policy.ts";
import type { LabelConstraint } from "./label-constraint.ts";
import type { MapItem, MapSpec } from "./map-spec.ts";
import type { RoutingDecision } from "./routing-decision.ts";
import type { TaskState } from "./task-state.ts";

/** An opaque body with its media type. */
export interface Payload {
  readonly contentType: string;
  /** The body, or the SHA-256 of one that is stored apart. */
  readonly data: Uint8Array;
  /** Set for a body that is stored apart: its size. */
  readonly storedBytes?: number;
}

/** An edge: the task waits for the named one, and receives its output when `inputName` is not empty. */
export interface Dependency {
  readonly taskKey: string;
  readonly inputName: string;
  /** Left out: FAIL. */
  readonly onFailure?: EdgePolicy;
}

/** How often and when a failed task is tried again. Complete: defaults are filled in at submission. */
export interface RetryPolicy {
  readonly maxAttempts: number;
  readonly initialDelayMs: number;
  readonly multiplier: number;
  readonly maxDelayMs: number;
  readonly nonRetryableReasons: readonly string[];
  /** Share of each wait that is left to chance, 0 to 1. Left out: RETRY_JITTER. */
  readonly jitter?: number;
  /** With so many losses of its agent the task fails. Left out: DEFAULT_MAX_LOSSES. */
  readonly maxLosses?: number;
}

/** One unit of work as submitted, defaults filled in. */
export interface TaskSpec {
  readonly key: string;
  readonly capability: string;
  readonly versionRange: string;
  readonly input: Payload | undefined;
  readonly dependencies: readonly Dependency[];
  readonly requiredLabels: Readonly<Record<string, string>>;
  readonly preferredLabels: Readonly<Record<string, string>>;
  readonly priority: number;
  readonly retry: RetryPolicy;
  readonly startToCloseMs: number;
  readonly scheduleToStartMs: number;
  /** Slots of an agent that it takes. Left out when 1, as are the three below when empty: most specs are stored without. */
  readonly slotCost?: number;
  /** Prefers the agent that got the last task of the same key. */
  readonly affinityKey?: string;
  readonly preferredRegion?: string;
  readonly labelConstraints?: readonly LabelConstraint[];
  /** Its failure cancels every open task of the job. Left out: false. */
  readonly cancelSiblingsOnFailure?: true;
  /** It is done once for each element of a list. */
  readonly map?: MapSpec;
  /** Absent means that an attempt may be silent for as long as it runs. */
  readonly heartbeatMs?: number;
  /** Absent means that only the attempts bound the task's life. */
  readonly scheduleToCloseMs?: number;
}

/** Slots of an agent that a task takes. */
export function slotCostOf(spec: Pick<TaskSpec, "slotCost">): number {
  return spec.slotCost ?? 1;
}

/** A spec without the parts that live in tables of their own, and with what the graph says of the task. */
export interface StoredTaskSpec extends Omit<TaskSpec, "input"> {
  /** A mapped task depends on it. Left out: false. */
  readonly feedsMap?: true;
  /** It was made for an element of a mapped task's list. */
  readonly mapItem?: MapItem;
}

/** Why something did not succeed. */
export interface Failure {
  readonly reason: string;
  readonly message: string;
  /** The task that failed first, for a job, or a task that was skipped or cancelled for it; else empty. */
  readonly taskKey: string;
}

/** A task as reads return it. */
export interface TaskView {
  readonly taskId: string;
  readonly jobId: string;
  readonly spec: StoredTaskSpec;
  readonly input: Payload | undefined;
  readonly output: Payload | undefined;
  readonly state: TaskState;
  readonly attempts: number;
  readonly charged: number;
  readonly agentId: string;
  readonly fence: bigint;
  readonly failure: Failure | undefined;
  readonly planning: boolean;
  /** The task of an earlier generation that made its output; empty when it ran itself. */
  readonly reusedFrom: string;
  readonly createdAt: Date;
  readonly readyAt: Date | undefined;
  readonly leasedAt: Date | undefined;
  readonly endedAt: Date | undefined;
}

/** How an attempt ended. */
export type AttemptOutcome = "SUCCEEDED" | "FAILED" | "CANCELLED" | "LOST" | "RELEASED";

/** One lease of a task. */
export interface AttemptView {
  readonly attempt: number;
  readonly fence: bigint;
  readonly agentId: string;
  readonly agentEpoch: bigint;
  readonly leasedAt: Date;
  readonly startedAt: Date | undefined;
  readonly endedAt: Date | undefined;
  readonly outcome: AttemptOutcome | undefined;
  readonly failure: Failure | undefined;
  readonly charged: boolean;
  readonly decision: RoutingDecision | undefined;
}

/** The policy of a task that names none: attempts at 0, 1 s and 2 s (DESIGN section 7). */
export const DEFAULT_RETRY: RetryPolicy = {
  maxAttempts: 3,
  initialDelayMs: 1_000,
  multiplier: 2,
  maxDelayMs: 60_000,
  nonRetryableReasons: [],
};
/** Losses of its agent with which a task fails whose policy does not say: it may be what ends them (ADR 0046). */
export const DEFAULT_MAX_LOSSES = 3;
/** How long one attempt may take when the spec says nothing. */
export const DEFAULT_START_TO_CLOSE_MS = 300_000;
/** How long a task may wait for an agent when the spec says nothing. */
export const DEFAULT_SCHEDULE_TO_START_MS = 3_600_000;
