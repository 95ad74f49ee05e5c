/** What the owner keeps in memory of tasks that wait or run. Blocked and finished tasks are in Postgres only. */
import type { RoutingDecision } from "./routing-decision.ts";
import type { StoredTaskSpec } from "./task.ts";

/** The spec of a task that waits or runs: without what is no longer needed then, and without its key, which it has
 * beside it. */
export interface LiveSpec extends Omit<StoredTaskSpec, "key" | "dependencies" | "map" | "mapItem"> {
  /** It was made for an element of a list. Left out: false. */
  readonly isMapItem?: true;
}

/** Makes what memory keeps of a spec: which element of a list a task has is in the tables. */
export function toLiveSpec(spec: StoredTaskSpec): LiveSpec {
  if (spec.mapItem === undefined) return spec;
  const { mapItem: _, ...rest } = spec;
  return { ...rest, isMapItem: true };
}

/** A task that is READY or leased. */
export interface LiveTask {
  readonly taskId: string;
  readonly jobId: string;
  readonly namespace: string;
  readonly key: string;
  readonly spec: LiveSpec;
  /** Its own priority plus the job's. */
  readonly priority: number;
  readonly planning: boolean;
  /** No other task depends on it. */
  readonly sink: boolean;
  /** It may receive outputs of other tasks. */
  readonly hasUpstream: boolean;
  /** It waits since it was made and has no state row, as far as this replica knows. Left out: it may have one. */
  readonly isNew?: true;
  /** Attempts begun. */
  readonly attempts: number;
  /** Attempts that count against the policy. */
  readonly charged: number;
  /** Attempts that found no slot because another replica was faster. Left out: none. */
  readonly crowded?: number;
  /** Attempts whose agents were lost with it. Left out: none. */
  readonly losses?: number;
  /** When it became ready, or will after a delay; epoch milliseconds by database time. */
  readonly readyAtMs: number;
  /** How long it may wait for an agent from then on, where that is not what its spec says: what was left when its job was paused. */
  readonly waitMs?: number;
  /** The agent whose attempt just failed, or empty. */
  readonly avoidAgentId: string;
  /** The fallback of a refused assignment, or empty. */
  readonly preferAgentId: string;
  readonly traceparent: string;
}

/** How long a task may wait for an agent once it is ready. */
export function waitMsOf(task: LiveTask): number {
  return task.waitMs ?? task.spec.scheduleToStartMs;
}

/** A committed lease. */
export interface Lease {
  readonly task: LiveTask;
  readonly fence: bigint;
  /** Counts from 1. */
  readonly attempt: number;
  readonly agentId: string;
  readonly agentEpoch: bigint;
  readonly capabilityVersion: string;
  readonly fallbackAgentId: string;
  /** Epoch milliseconds by database time. */
  readonly leasedAtMs: number;
  /** The agent said that it began, and that is committed. */
  readonly running: boolean;
}

/** A choice on its way to becoming a lease. */
export interface Claim {
  readonly task: LiveTask;
  readonly agentId: string;
  readonly agentEpoch: bigint;
  readonly capabilityVersion: string;
  readonly decision: RoutingDecision;
}
