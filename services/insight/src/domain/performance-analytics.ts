/** PerformanceAnalytics: how agents, capabilities and jobs perform. */
import { NexusError } from "@nexus/shared";
import type { NamedPerformance } from "./performance.ts";
import type { Grouping, JobPerformance, PerformanceFilter, PerformanceStore } from "./ports.ts";

/** Lines that one answer holds at most, whatever page size was asked for: each takes about a hundred rows to add up. */
export const PAGE_LINES_MAX = 250;

/** A page of a listing. */
export interface PerformancePage {
  readonly items: readonly NamedPerformance[];
  /** Name to go on after; undefined on the last page. */
  readonly nextAfter: string | undefined;
}

/** Which page. */
export interface PageSpec {
  readonly afterName: string;
  readonly size: number;
}

/** Answers how agents, capabilities and jobs perform. */
export interface PerformanceAnalytics {
  /** One line a group that has samples in the window, by name. */
  list(grouping: Grouping, filter: PerformanceFilter, page: PageSpec): Promise<PerformancePage>;
  /** Errors: not_found/NO_SAMPLES. */
  job(namespace: string, jobId: string): Promise<JobPerformance>;
}

/** Creates the analytics over a store. */
export function createPerformanceAnalytics(store: PerformanceStore): PerformanceAnalytics {
  return {
    list: async (grouping, filter, page) => {
      const size = Math.min(page.size, PAGE_LINES_MAX);
      const { afterName } = page;
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
