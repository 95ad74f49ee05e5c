/** Ways to choose among agents that could take a task: that of NEXUS, and what is usually done instead. */
import { chooseAgent, type RoutingNeed, type RoutingPolicy } from "../domain/routing.ts";
import type { AgentEntry } from "../engine/agent-entry.ts";

export const POLICY_NAMES = ["nexus", "random", "round_robin", "least_loaded"] as const;

/** The name of a policy. */
export type PolicyName = (typeof POLICY_NAMES)[number];

/** Chooses one of the eligible agents. */
export interface Policy {
  /** Whether it feeds breakers and avoids the agent that just failed a task, which the others do not know of. */
  readonly learns: boolean;
  pick(eligible: readonly AgentEntry[], need: RoutingNeed): AgentEntry | undefined;
}

/** Creates a policy with a chance of its own. */
export function createPolicy(name: PolicyName, routing: RoutingPolicy): Policy {
  switch (name) {
    case "nexus":
      return {
        learns: true,
        pick: (eligible, need) => chooseAgent(eligible, [], need, routing).agent,
      };
    case "random":
      return {
        learns: false,
        pick: (eligible) => eligible[Math.floor(routing.random() * eligible.length)],
      };
    case "round_robin":
      return { learns: false, pick: (eligible) => least(eligible, (agent) => agent.lastAssigned) };
    case "least_loaded":
      return {
        learns: false,
        pick: (eligible) =>
          least(eligible, ({ inHand, slots, lastAssigned }) => inHand / slots + lastAssigned * TIE),
      };
  }
}

/** Makes the one that waited longest win among equals, and nothing else. */
const TIE = 1e-9;

function least(
  agents: readonly AgentEntry[],
  value: (agent: AgentEntry) => number,
): AgentEntry | undefined {
  let best: AgentEntry | undefined;
  let bestValue = Number.POSITIVE_INFINITY;
  for (const agent of agents) {
    const mine = value(agent);
    if (mine >= bestValue) continue;
    best = agent;
    bestValue = mine;
  }
  return best;
}
