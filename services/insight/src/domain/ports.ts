import type { NamedPerformance, Performance } from "./performance.ts";
import type { TaskSample } from "./task-sample.ts";

/** Keeps samples. */
export interface SampleStore {
  /** Stores batches in one transaction; returns how many of each were new. */
  insert(batches: readonly (readonly TaskSample[])[]): Promise<number[]>;
  /** Makes room for the days to come and drops those past the retention. */
  keepPartitions(retentionMs: number): Promise<void>;
  /** Forgets the ids of samples older than a day; returns how many. */
  pruneKeys(): Promise<number>;
}

/** Which samples a listing is about. */
export interface PerformanceFilter {
  readonly namespace: string;
  readonly windowMs: number;
  readonly agentId: string;
  readonly capability: string;
}

/** What a listing is grouped by. */
export type Grouping = "agent" | "capability";

/** Sums samples up. */
export interface PerformanceStore {
  /** One page of groups by name, after `afterName`, at most `limit`. */
  list(
    grouping: Grouping,
    filter: PerformanceFilter,
    page: { readonly afterName: string; readonly limit: number },
  ): Promise<NamedPerformance[]>;
  /** A whole job and its agents; undefined when it has no samples. */
  job(
    namespace: string,
    jobId: string,
  ): Promise<{ readonly total: Performance; readonly agents: NamedPerformance[] } | undefined>;
}

/** What insight tells operators. */
export interface InsightEvents {
  samplesStored(stored: number, repeated: number): void;
}
