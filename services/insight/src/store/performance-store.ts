/** How agents, capabilities and jobs did, out of the tables. */
import type { Pool } from "@nexus/postgres";
import type { PerformanceStore } from "../domain/ports.ts";
import { readJob } from "./job-store.ts";
import { listWindow } from "./window-store.ts";

/** Creates the store. */
export function createPerformanceStore(pool: Pool): PerformanceStore {
  return {
    list: (grouping, filter, page) => listWindow(pool, grouping, filter, page),
    job: (namespace, jobId) => readJob(pool, namespace, jobId),
  };
}
