/** What the handlers are given. */
import { decodePageToken, encodePageToken } from "@nexus/postgres";
import type { PageRequest } from "@nexus/proto/common";
import type { Clock } from "@nexus/shared";
import type { MetricsCollector } from "../domain/metrics-collector.ts";
import type { PageSpec, PerformanceAnalytics } from "../domain/performance-analytics.ts";

/** The use cases of the service. */
export interface HandlerDeps {
  readonly collector: MetricsCollector;
  readonly analytics: PerformanceAnalytics;
  readonly clock: Clock;
}

/** How far back a listing looks when the caller does not say. */
export const WINDOW_DEFAULT_MS = 3_600_000;
const PAGE_SIZE_DEFAULT = 100;

/** Reads which page is asked for. Errors: invalid/PAGE_TOKEN_INVALID. */
export function readPage(kind: string, page: PageRequest | undefined): PageSpec {
  const [afterName] = decodePageToken(kind, page?.pageToken ?? "") ?? [""];
  const size = page === undefined || page.pageSize === 0 ? PAGE_SIZE_DEFAULT : page.pageSize;
  return { afterName: String(afterName), size };
}

/** Writes how to go on. */
export function pageInfo(kind: string, nextAfter: string | undefined) {
  return { nextPageToken: nextAfter === undefined ? "" : encodePageToken(kind, [nextAfter]) };
}
