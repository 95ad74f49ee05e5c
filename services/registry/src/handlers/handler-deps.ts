/** What the handlers are given: the use cases, and the moment for reputations in answers. */
import type { CallContext } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import type { AgentDiscovery } from "../domain/agent-discovery.ts";
import type { AgentLifecycle } from "../domain/agent-lifecycle.ts";
import type { AgentRegistry } from "../domain/agent-registry.ts";
import type { AgentWatchDeps } from "../domain/agent-watch.ts";
import type { Caller } from "../domain/caller.ts";
import type { ReputationTracker } from "../domain/reputation-tracker.ts";
import type { ReputationClock } from "./convert-agent.ts";

/** The use cases of the service. */
export interface HandlerDeps {
  readonly registry: AgentRegistry;
  readonly discovery: AgentDiscovery;
  readonly lifecycle: AgentLifecycle;
  readonly reputation: ReputationTracker;
  readonly watch: AgentWatchDeps;
  /** Now, for the decay of evidence. */
  readonly reputationClock: () => ReputationClock;
}

/** Reads the caller from a call. */
export function callerOf(ctx: CallContext): Caller {
  const { namespace, principalId, kind } = requirePrincipal(ctx);
  return { namespace, principalId, kind, leaf: ctx.audit };
}
