import type { OutcomeService } from "@nexus/proto/registry";
import type { MethodImplementation } from "@nexus/rpc";
import { fromDurationMs } from "./convert-time.ts";
import type { HandlerDeps } from "./handler-deps.ts";

/** Creates the handler of OutcomeService.ReportOutcomes. The contract is internal, so only services
 * come here: the orchestrator reports for all namespaces. */
export function reportOutcomes({
  reputation,
}: HandlerDeps): MethodImplementation<typeof OutcomeService.method.reportOutcomes> {
  return async ({ outcomes }) => {
    const counted = await reputation.report(
      outcomes.map((outcome) => ({
        namespace: outcome.namespace,
        agentId: outcome.agentId,
        capability: outcome.capability,
        taskId: outcome.taskId,
        fence: outcome.fence,
        success: outcome.success,
        reason: outcome.reason,
        runTimeMs: fromDurationMs(outcome.runTime),
      })),
    );
    return { counted };
  };
}
