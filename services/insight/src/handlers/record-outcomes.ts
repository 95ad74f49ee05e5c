import type { MetricsService } from "@nexus/proto/insight";
import type { MethodImplementation } from "@nexus/rpc";
import { toOutcomeGroup } from "./convert-outcomes.ts";
import type { HandlerDeps } from "./handler-deps.ts";

/** Creates the handler of MetricsService.RecordOutcomes. The contract is internal, so only services come here: the orchestrator
 * records for all namespaces. */
export function recordOutcomes({
  collector,
  clock,
}: HandlerDeps): MethodImplementation<typeof MetricsService.method.recordOutcomes> {
  return async ({ stream, groups }) => {
    return { stored: await collector.record(stream, groups.map(toOutcomeGroup), clock.nowMs()) };
  };
}
