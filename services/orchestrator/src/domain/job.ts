/** What a job is, as reads return it and as submission makes it. */
import type { Lineage } from "./generation.ts";
import type { JobState, TaskCounts } from "./job-state.ts";
import type { Failure, Payload, TaskSpec } from "./task.ts";

/** A job as reads return it. */
export interface JobView {
  readonly jobId: string;
  readonly namespace: string;
  readonly objective: string;
  readonly state: JobState;
  readonly principalId: string;
  readonly priority: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly counts: TaskCounts;
  /** Set once FAILED, PARTIAL or CANCELLED. */
  readonly failure: Failure | undefined;
  readonly planSummary: string;
  readonly lineage: Lineage;
  readonly createdAt: Date;
  readonly startedAt: Date | undefined;
  readonly endedAt: Date | undefined;
}

/** How the cancelled tasks of a job stood when they were cancelled. */
export interface Dispositions {
  readonly neverStarted: number;
  readonly betweenAttempts: number;
  /** Leased; their agents are told. */
  readonly toldToStop: number;
}

/** The entry of a call in the audit log, which commits with what the call changes. */
export interface AuditLeaf {
  /** A UUID, the same in every draft. */
  readonly entryId: string;
  /** Adds what only the engine knows. */
  note(facts: {
    readonly resource?: string;
    readonly fields?: Readonly<Record<string, string>>;
  }): void;
  /** The encoded entry. */
  draft(): Uint8Array;
  /** To be called once the transaction that holds it has been committed. */
  stored(): void;
}

/** What a user submits, checked and with defaults filled in. */
export interface JobSubmission {
  readonly namespace: string;
  readonly principalId: string;
  readonly requestId: string;
  /** SHA-256 of the request without its request id: tells a repeated call from a reused id. */
  readonly bodyHash: Uint8Array;
  readonly objective: string;
  readonly priority: number;
  readonly labels: Readonly<Record<string, string>>;
  /** The caller's tasks, or the single planning task of an objective. */
  readonly tasks: readonly TaskSpec[];
  readonly planning: boolean;
  /** W3C trace context of the submitter, so that every later span joins its trace; may be empty. */
  readonly traceparent: string;
  readonly leaf?: AuditLeaf | undefined;
}

/** The planner's material of an objective, as kept in the planning task's input. */
export interface PlanQuestion {
  readonly objective: string;
  readonly input: Payload | undefined;
}
