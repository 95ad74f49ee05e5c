import type { RegistryService } from "@nexus/proto/registry";
import type { MethodImplementation } from "@nexus/rpc";
import type { Candidate } from "../domain/agent-discovery.ts";
import { fromStates, type ReputationClock, toAgent, toCapability } from "./convert-agent.ts";
import { callerOf, type HandlerDeps } from "./handler-deps.ts";

/** Creates the handler of RegistryService.DiscoverAgents. */
export function discoverAgents({
  discovery,
  reputationClock,
}: HandlerDeps): MethodImplementation<typeof RegistryService.method.discoverAgents> {
  return (request, ctx) => {
    const { candidates, rejections, totalMatches } = discovery.discover({
      namespace: callerOf(ctx).namespace,
      capability: request.capability,
      versionRange: request.versionRange,
      requiredLabels: request.requiredLabels,
      tags: request.tags,
      text: request.text,
      states: fromStates(request.states),
      minFreeSlots: request.minFreeSlots,
      minReputation: request.minReputation,
      limit: request.limit,
      explain: request.explain,
    });
    const clock = reputationClock();
    return {
      candidates: candidates.map((candidate) => toCandidate(candidate, clock)),
      rejections: [...rejections],
      totalMatches,
    };
  };
}

function toCandidate({ agent, capability, score, factors }: Candidate, clock: ReputationClock) {
  return {
    agent: toAgent(agent, clock),
    ...(capability === undefined ? {} : { capability: toCapability(capability) }),
    score,
    factors: {
      reputation: factors.reputation,
      free_slots: factors.freeSlots,
      latency: factors.latency,
      cost: factors.cost,
      text: factors.text,
    },
  };
}
