import { fromBinary } from "@bufbuild/protobuf";
import { PayloadSchema } from "@nexus/proto/common";
import type { CallAgentRequest } from "@nexus/proto/mesh";
import { type CallContext, requirePrincipal } from "@nexus/rpc";
import { callAgent, type MessagingDeps } from "./caller-message.ts";
import { toSendOutcome } from "./convert.ts";

/** Serves MessagingService.CallAgent: delivers a request and waits for its reply. */
export function createCallAgent(deps: MessagingDeps) {
  return async (request: CallAgentRequest, ctx: CallContext) => {
    const principal = requirePrincipal(ctx);
    const answer = await callAgent(deps, { principal, request, ctx, expectsReply: true });
    const outcome = toSendOutcome(answer.result);
    if (answer.reply === undefined) return { outcome };
    return { outcome, reply: fromBinary(PayloadSchema, answer.reply) };
  };
}
