import type { AnalyticsService } from "@nexus/proto/insight";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { durationOr, fromPerformance } from "./convert.ts";
import { type HandlerDeps, pageInfo, readPage, WINDOW_DEFAULT_MS } from "./handler-deps.ts";

const PAGE_KIND = "capability-performance";

/** Creates the handler of AnalyticsService.ListCapabilityPerformance. */
export function listCapabilityPerformance({
  analytics,
  pageTokens,
}: HandlerDeps): MethodImplementation<typeof AnalyticsService.method.listCapabilityPerformance> {
  return async ({ window, capability, page }, ctx) => {
    const { namespace } = requirePrincipal(ctx);
    const windowMs = durationOr(window, WINDOW_DEFAULT_MS);
    const filter = { namespace, windowMs, agentId: "", capability };
    const found = await analytics.list("capability", filter, readPage(pageTokens, PAGE_KIND, page));
    const capabilities = found.items.map(({ name, performance }) => ({
      capability: name,
      performance: fromPerformance(performance),
    }));
    return { capabilities, page: pageInfo(pageTokens, PAGE_KIND, found.nextAfter) };
  };
}
