import type { AttemptOutcome } from "@nexus/proto/common";
import type { OutcomeService } from "@nexus/proto/registry";
import type { MethodImplementation } from "@nexus/rpc";
import type { Outcome } from "../domain/ports.ts";
import { fromDurationMs } from "./convert-time.ts";
import type { HandlerDeps } from "./handler-deps.ts";

/** Creates the handler of OutcomeService.ReportOutcomes. The contract is internal, so only services
 * come here: the orchestrator reports for all namespaces. */
export function reportOutcomes({
  reputation,
}: HandlerDeps): MethodImplementation<typeof OutcomeService.method.reportOutcomes> {
  return async ({ stream, groups }) => {
    const counted = await reputation.report(
      stream,
      groups.map(({ position, outcomes }) => ({ position, outcomes: outcomes.map(toOutcome) })),
    );
    return { counted };
  };
}

function toOutcome(outcome: AttemptOutcome): Outcome {
  const { namespace, agentId, capability, taskId, success, reason } = outcome;
  const runTimeMs = fromDurationMs(outcome.workTime);
  return { namespace, agentId, capability, taskId, success, reason, runTimeMs };
}
