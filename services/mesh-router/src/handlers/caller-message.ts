/** One message of a caller that holds no session: what SendMessage and CallAgent share. */
import { toBinary } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { PayloadSchema } from "@nexus/proto/common";
import { type CallAgentRequest, DeliveryClass, type SendMessageRequest } from "@nexus/proto/mesh";
import type { CallContext, Principal } from "@nexus/rpc";
import { type Clock, type Ids, NexusError } from "@nexus/shared";
import { ACK_WAIT_DEFAULT_MS, MAIL_TTL_DEFAULT_MS } from "../domain/limits.ts";
import type { MailTerms } from "../domain/mail/mail.ts";
import { type CallAnswer, Caller } from "../domain/message/caller.ts";
import type { Chain, Target } from "../domain/message/letter.ts";
import type { MessageEngine } from "../domain/message/message-engine.ts";
import type { MessageSwitch } from "../domain/message/message-switch.ts";
import { timeoutOf } from "./convert.ts";

/** What messaging calls need. */
export interface MessagingDeps {
  readonly engine: MessageEngine;
  readonly messages: MessageSwitch;
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
  const { namespace, principalId } = principal;
  const caller = new Caller(namespace, principalId, deps.engine.tallyOf(principal));
  const nowMs = deps.clock.nowMs();
  const traceparent = ctx.metadata.get("traceparent") ?? "";
  const mail = "deliveryClass" in request ? termsOf(request) : undefined;
  const messageId = "messageId" in request && mail !== undefined ? request.messageId : "";
  const letter = {
    messageId: messageId === "" ? deps.ids.next("msg") : messageId,
    toAgentId: request.toAgentId,
    target: targetOf(request),
    mail,
    payload: request.payload === undefined ? NOTHING : toBinary(PayloadSchema, request.payload),
    subject: Buffer.from(request.subject),
    expectsReply: message.expectsReply,
    inReplyTo: "",
    timeoutMs: boundedTimeout(timeoutOf(request.timeout), ctx, nowMs),
    traceparent: Buffer.from(traceparent.slice(0, TRACEPARENT_MAX)),
    chain: chainOf(request, nowMs),
    lease: request.lease,
  };
  const onAbort = (): void => deps.engine.abandon(caller);
  ctx.signal.addEventListener("abort", onAbort, { once: true });
  try {
    deps.messages.send(caller, letter);
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

/** Errors: invalid/REQUEST_INVALID for no address, or several. */
function targetOf(request: SendMessageRequest | CallAgentRequest): Target | undefined {
  const targets: Target[] = [];
  if (request.toCapability !== "") targets.push({ kind: "capability", name: request.toCapability });
  if ("toTopic" in request && request.toTopic !== "") {
    targets.push({ kind: "topic", name: request.toTopic });
  }
  if ("broadcast" in request && request.broadcast) targets.push({ kind: "all", name: "*" });
  if (targets.length + (request.toAgentId === "" ? 0 : 1) === 1) return targets[0];
  const description = "a message has one address";
  throw new NexusError({
    kind: "invalid",
    reason: "REQUEST_INVALID",
    message: `to_agent_id: ${description}.`,
    details: { fieldViolations: [{ field: "to_agent_id", description }] },
  });
}

function termsOf({ deliveryClass, ttl, ackWait }: SendMessageRequest): MailTerms | undefined {
  if (deliveryClass !== DeliveryClass.DURABLE) return undefined;
  return {
    ttlMs: ttl === undefined ? MAIL_TTL_DEFAULT_MS : durationMs(ttl),
    ackWaitMs: ackWait === undefined ? ACK_WAIT_DEFAULT_MS : durationMs(ackWait),
  };
}

function chainOf({ chain }: CallerMessage["request"], nowMs: number): Chain | undefined {
  if (chain === undefined) return undefined;
  const { hops, ancestors, left } = chain;
  return { hops, ancestors, deadlineAtMs: left && nowMs + durationMs(left) };
}
