/** What the engine needs from outside, named by role. */
import type { Payload, TaskSpec } from "./task.ts";

/** One epoch of one agent. */
export interface SessionRef {
  readonly namespace: string;
  readonly agentId: string;
  readonly epoch: bigint;
}

/** A leased task on its way to its agent. */
export interface Assignment {
  readonly taskId: string;
  readonly jobId: string;
  readonly taskKey: string;
  readonly fence: bigint;
  readonly attempt: number;
  readonly capability: string;
  readonly capabilityVersion: string;
  readonly input: Payload | undefined;
  readonly upstream: ReadonlyMap<string, Payload>;
  readonly timeoutMs: number;
  /** Slots of the agent that it takes. */
  readonly slotCost: number;
  readonly traceparent: string;
}

/** Why a lease ended before its agent did. */
export type CancelReason =
  | "JOB_CANCELLED"
  | "SIBLING_FAILED"
  | "LEASE_LOST"
  | "DEADLINE_EXCEEDED"
  | "HEARTBEAT_TIMEOUT"
  | "SCHEDULE_TO_CLOSE";

/** What became of an agent's terminal word. */
export type UpdateOutcome = "COMMITTED" | "STALE";

/** The streams to the mesh-routers. Each call is put on the stream named `router`; false when it is not there. */
export interface Dispatch {
  assign(router: string, session: SessionRef, assignment: Assignment): boolean;
  cancel(
    router: string,
    session: SessionRef,
    cancel: { readonly taskId: string; readonly fence: bigint; readonly reason: CancelReason },
  ): boolean;
  answer(
    router: string,
    session: SessionRef,
    result: { readonly taskId: string; readonly fence: bigint; readonly outcome: UpdateOutcome },
  ): boolean;
  /** Says whether more slots of a session are wanted than it was reported with, and how many leases of it are held. */
  demand(
    router: string,
    session: SessionRef,
    demand: { readonly wanted: boolean; readonly held: number },
  ): boolean;
}

/** What an agent said about a lease. */
export type AgentSaying =
  | { readonly kind: "ACCEPTED" }
  | { readonly kind: "PROGRESS"; readonly progress: number; readonly message: string }
  | { readonly kind: "CHUNK"; readonly sequence: bigint; readonly data: Uint8Array }
  | { readonly kind: "COMPLETED"; readonly output: Payload }
  | {
      readonly kind: "FAILED";
      readonly reason: string;
      readonly message: string;
      readonly retryable: boolean;
    }
  | { readonly kind: "RELEASED"; readonly message: string };

/** An update with its origin. */
export interface AgentUpdate {
  readonly router: string;
  readonly session: SessionRef;
  readonly taskId: string;
  readonly fence: bigint;
  readonly saying: AgentSaying;
}

/** How a router says that a session stands. */
export interface SessionReport {
  readonly session: SessionRef;
  readonly state: "CONNECTED" | "DETACHED" | "DRAINING" | "CLOSED" | "LOST";
  readonly slots: number;
}

/** An assignment that did not reach its agent. */
export interface Refusal {
  readonly session: SessionRef;
  readonly taskId: string;
  readonly fence: bigint;
  readonly reason: string;
}

/** A plan as read from a planner's output. */
export type PlanReading =
  | {
      readonly ok: true;
      readonly specs: readonly TaskSpec[];
      readonly summary: string;
    }
  | { readonly ok: false; readonly problems: readonly string[] };

/** Reads and writes what planners speak. */
export interface PlanCodec {
  /** Reads a Plan; never throws. */
  readPlan(output: Payload): PlanReading;
  /** Writes a PlanRequest from the planning task's stored input. */
  writeRequest(stored: Payload | undefined, liveCapabilities: readonly string[]): Payload;
}

/** Business events of the engine: each one metric and, where an operator acts on it, one log line. */
export interface EngineEvents {
  submitted(jobs: number, tasks: number): void;
  /** Assignments were put on their streams together, each so many seconds after its task became ready. */
  assigned(latencySeconds: readonly number[]): void;
  /** So many attempts ended alike. */
  settled(outcome: string, next: "SUCCEED" | "REQUEUE" | "FAIL", count: number): void;
  refused(reason: string): void;
  agentLost(leases: number): void;
  expired(tasks: number): void;
  jobsEnded(state: string): void;
  /** Jobs that ended long ago were removed, with their tasks. */
  removed(jobs: number, tasks: number): void;
  flushed(kind: FlushKind, items: number, seconds: number): void;
  flushFailed(kind: FlushKind, error: unknown): void;
  updateDropped(why: "queue_full" | "not_owner"): void;
  loaded(shards: number, ready: number, leases: number): void;
}

/** The kinds of group commit. */
export type FlushKind = "submit" | "claim" | "update" | "cancel" | "expire" | "chunk";
