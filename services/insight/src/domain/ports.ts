/** What the domain needs from the outside: stores of attempts and of their sums, and somebody to tell. */
import type { NamedPerformance, Performance } from "./performance.ts";
import type { OutcomeGroup } from "./recorded-outcome.ts";

/** Keeps attempts, packed. */
export interface PackStore {
  /** Stores groups of a stream, by rising position, from the last position that was stored on, in one transaction; returns how many
   * outcomes were new. */
  store(stream: string, groups: readonly OutcomeGroup[]): Promise<number>;
  /** Makes room for the days to come, drops those past the retention, and forgets silent streams. */
  keepPartitions(retentionMs: number): Promise<void>;
}

/** What one round of adding up did. */
export interface RollupRound {
  readonly packs: number;
  readonly attempts: number;
}

/** Keeps sums of samples by minute, hour and day. */
export interface RollupStore {
  /** Adds up to `limit` packs that are in no rollup yet, in the order they were stored. */
  advance(limit: number): Promise<RollupRound>;
  /** Makes room for the days to come and drops those past the retention. */
  keepPartitions(retentionMs: number): Promise<void>;
}

/** Which samples a listing is about. Empty texts mean any. */
export interface PerformanceFilter {
  readonly namespace: string;
  readonly windowMs: number;
  readonly agentId: string;
  readonly capability: string;
}

/** What a listing is grouped by. */
export type Grouping = "agent" | "capability";

/** Which part of a listing: the first names behind one. */
export interface WindowPage {
  readonly afterName: string;
  readonly limit: number;
}

/** A whole job and its agents. */
export interface JobPerformance {
  readonly total: Performance;
  readonly agents: readonly NamedPerformance[];
}

/** Sums samples up. A sample counts as soon as it was stored. */
export interface PerformanceStore {
  /** One page of groups by name. Cost: about 113 rows a group, whatever the window and the number of samples. */
  list(
    grouping: Grouping,
    filter: PerformanceFilter,
    page: WindowPage,
  ): Promise<readonly NamedPerformance[]>;
  /** Undefined when the job has no samples. */
  job(namespace: string, jobId: string): Promise<JobPerformance | undefined>;
}

/** What insight tells operators. */
export interface InsightEvents {
  samplesStored(stored: number, repeated: number): void;
  samplesRolledUp(count: number): void;
}
