import type { RegistryService } from "@nexus/proto/registry";
import type { MethodImplementation } from "@nexus/rpc";
import { toAgent } from "./convert-agent.ts";
import { callerOf, type HandlerDeps } from "./handler-deps.ts";

/** Creates the handler of RegistryService.GetAgent. */
export function getAgent({
  registry,
  reputationClock,
}: HandlerDeps): MethodImplementation<typeof RegistryService.method.getAgent> {
  return async ({ agentId }, ctx) => {
    const { namespace } = callerOf(ctx);
    return { agent: toAgent(await registry.get({ namespace, agentId }), reputationClock()) };
  };
}
