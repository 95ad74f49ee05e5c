/** Every RPC of the mesh-router, service by service. */
import type { AgentSessionService, DispatchService, MessagingService } from "@nexus/proto/mesh";
import type { ServiceImplementation } from "@nexus/rpc";
import { createCallAgent } from "./call-agent.ts";
import type { MessagingDeps } from "./caller-message.ts";
import { type ConnectDeps, createConnect } from "./connect.ts";
import { createDispatch, type DispatchDeps } from "./dispatch.ts";
import { createSendMessage } from "./send-message.ts";

/** The handlers of AgentSessionService. */
export function createAgentSessionHandlers(
  deps: ConnectDeps,
): ServiceImplementation<typeof AgentSessionService> {
  return { connect: createConnect(deps) };
}

/** The handlers of DispatchService. */
export function createDispatchHandlers(
  deps: DispatchDeps,
): ServiceImplementation<typeof DispatchService> {
  return { dispatch: createDispatch(deps) };
}

/** The handlers of MessagingService. */
export function createMessagingHandlers(
  deps: MessagingDeps,
): ServiceImplementation<typeof MessagingService> {
  return { sendMessage: createSendMessage(deps), callAgent: createCallAgent(deps) };
}

export { TurnScheduler } from "./turn-scheduler.ts";
