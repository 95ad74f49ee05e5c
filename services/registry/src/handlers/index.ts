/** The route table: every method of the registry's three services and where it is handled. */
import type { OutcomeService, PresenceService, RegistryService } from "@nexus/proto/registry";
import type { ServiceImplementation } from "@nexus/rpc";
import { deregisterAgent } from "./deregister-agent.ts";
import { discoverAgents } from "./discover-agents.ts";
import { getAgent } from "./get-agent.ts";
import type { HandlerDeps } from "./handler-deps.ts";
import { listAgents } from "./list-agents.ts";
import { registerAgent } from "./register-agent.ts";
import { reportOutcomes } from "./report-outcomes.ts";
import { reportPresence } from "./report-presence.ts";
import { updateAgent } from "./update-agent.ts";
import { watchAgents } from "./watch-agents.ts";

/** Handlers by service. */
export interface RegistryHandlers {
  readonly registry: ServiceImplementation<typeof RegistryService>;
  readonly presence: ServiceImplementation<typeof PresenceService>;
  readonly outcome: ServiceImplementation<typeof OutcomeService>;
}

/** Creates all handlers. */
export function createHandlers(deps: HandlerDeps): RegistryHandlers {
  return {
    registry: {
      registerAgent: registerAgent(deps),
      getAgent: getAgent(deps),
      listAgents: listAgents(deps),
      updateAgent: updateAgent(deps),
      deregisterAgent: deregisterAgent(deps),
      discoverAgents: discoverAgents(deps),
      watchAgents: watchAgents(deps),
    },
    presence: { reportPresence: reportPresence(deps) },
    outcome: { reportOutcomes: reportOutcomes(deps) },
  };
}
