/** Every RPC of the mesh-router, service by service. */
import type { DeadMessageService, MessagingService } from "@nexus/proto/mesh";
import type { RawRelay, ServiceImplementation } from "@nexus/rpc";
import { createCallAgent } from "./call-agent.ts";
import type { MessagingDeps } from "./caller-message.ts";
import { type ConnectDeps, createConnect } from "./connect.ts";
import type { DeadMessageDeps } from "./dead-messages.ts";
import { createDispatch, type DispatchDeps } from "./dispatch.ts";
import { createGetDeadMessage } from "./get-dead-message.ts";
import { createListDeadMessages } from "./list-dead-messages.ts";
import { createListRoutes, type RouteDeps } from "./list-routes.ts";
import { createPurgeDeadMessages } from "./purge-dead-messages.ts";
import { createRedeliverDeadMessages } from "./redeliver-dead-messages.ts";
import { createSendMessage } from "./send-message.ts";
import { createTailTopic, type WatchDeps } from "./tail-topic.ts";

/** AgentSessionService has one method, Connect. */
export function createAgentSessionRelay(deps: ConnectDeps): RawRelay {
  return createConnect(deps);
}

/** DispatchService has one method, Dispatch. */
export function createDispatchRelay(deps: DispatchDeps): RawRelay {
  return createDispatch(deps);
}

/** The handlers of MessagingService. */
export function createMessagingHandlers(
  deps: MessagingDeps & RouteDeps & WatchDeps,
): ServiceImplementation<typeof MessagingService> {
  return {
    sendMessage: createSendMessage(deps),
    callAgent: createCallAgent(deps),
    tailTopic: createTailTopic(deps),
    listRoutes: createListRoutes(deps),
  };
}

/** The handlers of DeadMessageService. */
export function createDeadMessageHandlers(
  deps: DeadMessageDeps,
): ServiceImplementation<typeof DeadMessageService> {
  return {
    listDeadMessages: createListDeadMessages(deps),
    getDeadMessage: createGetDeadMessage(deps),
    redeliverDeadMessages: createRedeliverDeadMessages(deps),
    purgeDeadMessages: createPurgeDeadMessages(deps),
  };
}

export { TurnScheduler } from "./turn-scheduler.ts";
export { createEnvelopeEncoder } from "./wire/envelope.ts";
