import type { RegistryService } from "@nexus/proto/registry";
import type { MethodImplementation } from "@nexus/rpc";
import { callerOf, type HandlerDeps } from "./handler-deps.ts";

/** Creates the handler of RegistryService.DeregisterAgent. */
export function deregisterAgent({
  registry,
}: HandlerDeps): MethodImplementation<typeof RegistryService.method.deregisterAgent> {
  return async ({ requestId, agentId }, ctx) => {
    await registry.deregister(callerOf(ctx), { requestId, agentId });
    return {};
  };
}
