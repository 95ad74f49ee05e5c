import type { OutcomeService } from "@nexus/proto/registry";
import type { MethodImplementation } from "@nexus/rpc";
import { toOutcomeGroup } from "./convert-outcomes.ts";
import type { HandlerDeps } from "./handler-deps.ts";

/** Creates the handler of OutcomeService.ReportOutcomes. The contract is internal, so only services
 * come here: the orchestrator reports for all namespaces. */
export function reportOutcomes({
  reputation,
}: HandlerDeps): MethodImplementation<typeof OutcomeService.method.reportOutcomes> {
  return async ({ stream, groups }) => {
    return { counted: await reputation.report(stream, groups.map(toOutcomeGroup)) };
  };
}
