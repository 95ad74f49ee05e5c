import type { AnalyticsService } from "@nexus/proto/insight";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { durationOr, fromPerformance } from "./convert.ts";
import { type HandlerDeps, pageInfo, readPage, WINDOW_DEFAULT_MS } from "./handler-deps.ts";

const PAGE_KIND = "agent-performance";

/** Creates the handler of AnalyticsService.ListAgentPerformance. */
export function listAgentPerformance({
  analytics,
  pageTokens,
}: HandlerDeps): MethodImplementation<typeof AnalyticsService.method.listAgentPerformance> {
  return async ({ window, agentId, capability, page }, ctx) => {
    const { namespace } = requirePrincipal(ctx);
    const windowMs = durationOr(window, WINDOW_DEFAULT_MS);
    const filter = { namespace, windowMs, agentId, capability };
    const found = await analytics.list("agent", filter, readPage(pageTokens, PAGE_KIND, page));
    const agents = found.items.map(({ name, performance }) => ({
      agentId: name,
      performance: fromPerformance(performance),
    }));
    return { agents, page: pageInfo(pageTokens, PAGE_KIND, found.nextAfter) };
  };
}
