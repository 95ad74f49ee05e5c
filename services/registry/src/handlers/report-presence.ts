import type { PresenceService } from "@nexus/proto/registry";
import type { MethodImplementation } from "@nexus/rpc";
import { fromState } from "./convert-agent.ts";
import type { HandlerDeps } from "./handler-deps.ts";

/** Creates the handler of PresenceService.ReportPresence. The contract is internal: services report for all namespaces. */
export function reportPresence({
  lifecycle,
}: HandlerDeps): MethodImplementation<typeof PresenceService.method.reportPresence> {
  return async ({ routerId, presences }) => {
    const reports = presences.map(({ namespace, agentId, epoch, state, slots, busySlots }) => ({
      namespace,
      agentId,
      epoch,
      state: fromState(state),
      slots,
      busySlots,
    }));
    const { unknown } = await lifecycle.reportPresence(routerId, reports);
    return { unknown };
  };
}
