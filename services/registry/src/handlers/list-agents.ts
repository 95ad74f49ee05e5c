import type { RegistryService } from "@nexus/proto/registry";
import type { MethodImplementation } from "@nexus/rpc";
import { fromStates, toAgent } from "./convert-agent.ts";
import { callerOf, type HandlerDeps } from "./handler-deps.ts";

/** Agents on a page when the request does not say how many; the contract's number. */
const PAGE_SIZE_DEFAULT = 100;

/** Creates the handler of RegistryService.ListAgents. */
export function listAgents({
  registry,
  reputationClock,
}: HandlerDeps): MethodImplementation<typeof RegistryService.method.listAgents> {
  return async ({ states, capability, labels, page }, ctx) => {
    const { agents, nextPageToken } = await registry.list({
      namespace: callerOf(ctx).namespace,
      states: fromStates(states),
      capability,
      labels,
      pageSize: pageSizeOf(page?.pageSize ?? 0),
      pageToken: page?.pageToken ?? "",
    });
    const clock = reputationClock();
    return { agents: agents.map((agent) => toAgent(agent, clock)), page: { nextPageToken } };
  };
}

function pageSizeOf(requested: number): number {
  return requested === 0 ? PAGE_SIZE_DEFAULT : requested;
}
