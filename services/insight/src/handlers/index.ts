/** The route table: every method of insight's services and where it is handled. */
import type { AnalyticsService, MetricsService, WitnessService } from "@nexus/proto/insight";
import type { ServiceImplementation } from "@nexus/rpc";
import { getJobPerformance } from "./get-job-performance.ts";
import type { HandlerDeps } from "./handler-deps.ts";
import { listAgentPerformance } from "./list-agent-performance.ts";
import { listCapabilityPerformance } from "./list-capability-performance.ts";
import { listWitnessedCheckpoints, type WitnessHandlerDeps } from "./list-witnessed-checkpoints.ts";
import { recordOutcomes } from "./record-outcomes.ts";

/** Handlers by service. */
export interface InsightHandlers {
  readonly metrics: ServiceImplementation<typeof MetricsService>;
  readonly analytics: ServiceImplementation<typeof AnalyticsService>;
  readonly witness: ServiceImplementation<typeof WitnessService>;
}

/** Creates all handlers. */
export function createHandlers(deps: HandlerDeps & WitnessHandlerDeps): InsightHandlers {
  return {
    metrics: { recordOutcomes: recordOutcomes(deps) },
    analytics: {
      listAgentPerformance: listAgentPerformance(deps),
      listCapabilityPerformance: listCapabilityPerformance(deps),
      getJobPerformance: getJobPerformance(deps),
    },
    witness: { listWitnessedCheckpoints: listWitnessedCheckpoints(deps) },
  };
}
