import type { SendMessageRequest } from "@nexus/proto/mesh";
import { type CallContext, requirePrincipal } from "@nexus/rpc";
import { callAgent, type MessagingDeps } from "./caller-message.ts";
import { toSendOutcome } from "./convert.ts";

/** Serves MessagingService.SendMessage: delivers a message for a caller without a session. */
export function createSendMessage(deps: MessagingDeps) {
  return async (request: SendMessageRequest, ctx: CallContext) => {
    const principal = requirePrincipal(ctx);
    const { result } = await callAgent(deps, { principal, request, ctx, expectsReply: false });
    return { outcome: toSendOutcome(result) };
  };
}
