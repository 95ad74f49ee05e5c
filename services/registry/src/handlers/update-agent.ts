import type { RegistryService } from "@nexus/proto/registry";
import type { MethodImplementation } from "@nexus/rpc";
import { fromCapabilities, toAgent } from "./convert-agent.ts";
import { callerOf, type HandlerDeps } from "./handler-deps.ts";

/** Creates the handler of RegistryService.UpdateAgent. */
export function updateAgent({
  registry,
  reputationClock,
}: HandlerDeps): MethodImplementation<typeof RegistryService.method.updateAgent> {
  return async (request, ctx) => {
    const { capabilities } = request;
    const agent = await registry.update(callerOf(ctx), {
      requestId: request.requestId,
      agentId: request.agentId,
      expectedRevision: Number(request.expectedRevision),
      patch: {
        displayName: request.displayName,
        capabilities: capabilities && fromCapabilities(capabilities.capabilities),
        labels: request.labels?.labels,
        region: request.region,
        slots: request.slots,
      },
    });
    return { agent: toAgent(agent, reputationClock()) };
  };
}
