import type { RegistryService } from "@nexus/proto/registry";
import type { MethodImplementation } from "@nexus/rpc";
import { type WatchMessage, watchAgents as watch } from "../domain/agent-watch.ts";
import { assertService } from "../domain/caller.ts";
import { type ReputationClock, toAgent } from "./convert-agent.ts";
import { callerOf, type HandlerDeps } from "./handler-deps.ts";

/** Creates the handler of RegistryService.WatchAgents. */
export function watchAgents({
  watch: deps,
  reputationClock,
}: HandlerDeps): MethodImplementation<typeof RegistryService.method.watchAgents> {
  return async function* ({ resumeToken, allNamespaces }, ctx) {
    const caller = callerOf(ctx);
    if (allNamespaces) assertService(caller, "watch all namespaces");
    const namespace = allNamespaces ? undefined : caller.namespace;
    for await (const message of watch(deps, { namespace, resumeToken }, ctx.signal)) {
      yield toResponse(message, reputationClock());
    }
  };
}

function toResponse(message: WatchMessage, clock: ReputationClock) {
  const { resumeToken, agents, removed, snapshotComplete, reset } = message;
  return {
    resumeToken,
    agents: agents.map((agent) => toAgent(agent, clock)),
    removed: removed.map(({ namespace, agentId }) => ({ namespace, agentId })),
    snapshotComplete,
    reset,
  };
}
