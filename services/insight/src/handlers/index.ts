/** The route table: every method of insight's two services and where it is handled. */
import type { AnalyticsService, MetricsService } from "@nexus/proto/insight";
import type { ServiceImplementation } from "@nexus/rpc";
import { getJobPerformance } from "./get-job-performance.ts";
import type { HandlerDeps } from "./handler-deps.ts";
import { listAgentPerformance } from "./list-agent-performance.ts";
import { listCapabilityPerformance } from "./list-capability-performance.ts";
import { recordOutcomes } from "./record-outcomes.ts";

/** Handlers by service. */
export interface InsightHandlers {
  readonly metrics: ServiceImplementation<typeof MetricsService>;
  readonly analytics: ServiceImplementation<typeof AnalyticsService>;
}

/** Creates all handlers. */
export function createHandlers(deps: HandlerDeps): InsightHandlers {
  return {
    metrics: { recordOutcomes: recordOutcomes(deps) },
    analytics: {
      listAgentPerformance: listAgentPerformance(deps),
      listCapabilityPerformance: listCapabilityPerformance(deps),
      getJobPerformance: getJobPerformance(deps),
    },
  };
}
