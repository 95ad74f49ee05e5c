import type { AnalyticsService } from "@nexus/proto/insight";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { fromPerformance } from "./convert.ts";
import type { HandlerDeps } from "./handler-deps.ts";

/** Creates the handler of AnalyticsService.GetJobPerformance. */
export function getJobPerformance({
  analytics,
}: HandlerDeps): MethodImplementation<typeof AnalyticsService.method.getJobPerformance> {
  return async ({ jobId }, ctx) => {
    const { namespace } = requirePrincipal(ctx);
    const { total, agents } = await analytics.job(namespace, jobId);
    return {
      total: fromPerformance(total),
      agents: agents.map(({ name, performance }) => ({
        agentId: name,
        performance: fromPerformance(performance),
      })),
    };
  };
}
