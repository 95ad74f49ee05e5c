import type { RegistryService } from "@nexus/proto/registry";
import type { MethodImplementation } from "@nexus/rpc";
import { SLOTS_DEFAULT, TTL_DEFAULT_MS } from "../domain/agent-content.ts";
import { fromCapabilities, toAgent } from "./convert-agent.ts";
import { fromDurationMs } from "./convert-time.ts";
import { callerOf, type HandlerDeps } from "./handler-deps.ts";

/** Creates the handler of RegistryService.RegisterAgent. */
export function registerAgent({
  registry,
  reputationClock,
}: HandlerDeps): MethodImplementation<typeof RegistryService.method.registerAgent> {
  return async (request, ctx) => {
    const agent = await registry.register(callerOf(ctx), {
      requestId: request.requestId,
      agentId: request.agentId,
      content: {
        displayName: request.displayName,
        capabilities: fromCapabilities(request.capabilities),
        labels: request.labels,
        region: request.region,
        slots: request.slots === 0 ? SLOTS_DEFAULT : request.slots,
        ttlMs: Math.round(fromDurationMs(request.ttl) ?? TTL_DEFAULT_MS),
      },
    });
    return { agent: toAgent(agent, reputationClock()) };
  };
}
