/** What the handlers are given. */
import type { PageRequest } from "@nexus/proto/common";
import type { Clock } from "@nexus/shared";
import type { MetricsCollector } from "../domain/metrics-collector.ts";
import type { PageSpec, PerformanceAnalytics } from "../domain/performance-analytics.ts";

/** Opaque page tokens, each of one listing. */
export interface PageTokens {
  encode(kind: string, values: readonly string[]): string;
  /** Undefined for the first page. Errors: invalid/PAGE_TOKEN_INVALID. */
  decode(
    kind: string,
    token: string,
    types: readonly ("text" | "bigint")[],
  ): readonly unknown[] | undefined;
}

/** The use cases of the service. */
export interface HandlerDeps {
  readonly collector: MetricsCollector;
  readonly analytics: PerformanceAnalytics;
  readonly clock: Clock;
  readonly pageTokens: PageTokens;
}

/** How far back a listing looks when the caller does not say. */
export const WINDOW_DEFAULT_MS = 3_600_000;
const PAGE_SIZE_DEFAULT = 100;

/** Reads which page is asked for. Errors: invalid/PAGE_TOKEN_INVALID. */
export function readPage(
  tokens: PageTokens,
  kind: string,
  page: PageRequest | undefined,
): PageSpec {
  const [afterName] = tokens.decode(kind, page?.pageToken ?? "", ["text"]) ?? [""];
  const size = page === undefined || page.pageSize === 0 ? PAGE_SIZE_DEFAULT : page.pageSize;
  return { afterName: String(afterName), size };
}

/** Writes how to go on. */
export function pageInfo(tokens: PageTokens, kind: string, nextAfter: string | undefined) {
  return { nextPageToken: nextAfter === undefined ? "" : tokens.encode(kind, [nextAfter]) };
}
