/** One message of a caller that holds no session: what SendMessage and CallAgent share. */
import { toBinary } from "@bufbuild/protobuf";
import { PayloadSchema } from "@nexus/proto/common";
import type { CallAgentRequest, SendMessageRequest } from "@nexus/proto/mesh";
import type { CallContext, Principal } from "@nexus/rpc";
import type { Clock, Ids } from "@nexus/shared";
import { type CallAnswer, Caller } from "../domain/caller.ts";
import type { MessageEngine } from "../domain/message-engine.ts";
import { timeoutOf } from "./convert.ts";

/** What messaging calls need. */
export interface MessagingDeps {
  readonly engine: MessageEngine;
  readonly clock: Clock;
  readonly ids: Ids;
}

const NOTHING = new Uint8Array();
const TRACEPARENT_MAX = 64;
/** Kept back from the call's deadline, or a quarter of a short one, for the answer's own way. */
const ANSWER_MARGIN_MS = 100;

interface CallerMessage {
  readonly principal: Principal;
  readonly request: SendMessageRequest | CallAgentRequest;
  readonly ctx: CallContext;
  readonly expectsReply: boolean;
}

/** Sends the message and waits for its outcome, which comes before the call's deadline. */
export async function callAgent(deps: MessagingDeps, message: CallerMessage): Promise<CallAnswer> {
  const { principal, request, ctx } = message;
  const caller = new Caller(principal.namespace, principal.principalId);
  const nowMs = deps.clock.nowMs();
  const traceparent = ctx.metadata.get("traceparent") ?? "";
  const letter = {
    messageId: deps.ids.next("msg"),
    toAgentId: request.toAgentId,
    payload: request.payload === undefined ? NOTHING : toBinary(PayloadSchema, request.payload),
    subject: Buffer.from(request.subject),
    expectsReply: message.expectsReply,
    inReplyTo: "",
    timeoutMs: boundedTimeout(timeoutOf(request.timeout), ctx, nowMs),
    traceparent: Buffer.from(traceparent.slice(0, TRACEPARENT_MAX)),
  };
  const onAbort = (): void => deps.engine.abandon(caller);
  ctx.signal.addEventListener("abort", onAbort, { once: true });
  try {
    deps.engine.send(caller, letter, nowMs);
    return await caller.answer;
  } finally {
    ctx.signal.removeEventListener("abort", onAbort);
  }
}

/** The outcome has to be known a little before the caller stops listening. */
function boundedTimeout(timeoutMs: number, ctx: CallContext, nowMs: number): number {
  if (ctx.deadlineAtMs === undefined) return timeoutMs;
  const leftMs = ctx.deadlineAtMs - nowMs;
  return Math.max(1, Math.min(timeoutMs, leftMs - Math.min(ANSWER_MARGIN_MS, leftMs / 4)));
}
