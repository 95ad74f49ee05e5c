import { NexusError } from "@nexus/shared";
import type { NamedPerformance, Performance } from "./performance.ts";
import type { Grouping, PerformanceFilter, PerformanceStore } from "./ports.ts";

/** A page of a listing. */
export interface PerformancePage {
  readonly items: readonly NamedPerformance[];
  /** Name to go on after; undefined on the last page. */
  readonly nextAfter: string | undefined;
}

/** Answers how agents, capabilities and jobs perform. */
export interface PerformanceAnalytics {
  list(grouping: Grouping, filter: PerformanceFilter, page: PageSpec): Promise<PerformancePage>;
  /** Errors: not_found/NO_SAMPLES. */
  job(
    namespace: string,
    jobId: string,
  ): Promise<{ readonly total: Performance; readonly agents: readonly NamedPerformance[] }>;
}

/** Which page. */
export interface PageSpec {
  readonly afterName: string;
  readonly size: number;
}

/** Creates the analytics over a store. */
export function createPerformanceAnalytics(store: PerformanceStore): PerformanceAnalytics {
  return {
    list: async (grouping, filter, { afterName, size }) => {
      const found = await store.list(grouping, filter, { afterName, limit: size + 1 });
      const items = found.slice(0, size);
      return { items, nextAfter: found.length > size ? items.at(-1)?.name : undefined };
    },
    job: async (namespace, jobId) => {
      const found = await store.job(namespace, jobId);
      if (found !== undefined) return found;
      throw new NexusError({
        kind: "not_found",
        reason: "NO_SAMPLES",
        message: `No attempt of the job ${jobId} has been recorded.`,
      });
    },
  };
}
