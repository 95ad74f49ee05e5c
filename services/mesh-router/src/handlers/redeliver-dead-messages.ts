import { createHash } from "node:crypto";
import type { DeadMessageService } from "@nexus/proto/mesh";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import type { DeadMessageChoice } from "../domain/mail/dead-message.ts";
import { mailKey } from "../domain/mail/mail-key.ts";
import { type DeadMessageDeps, toChoice } from "./dead-messages.ts";

const REDELIVER_MAX = 100;

/** Serves DeadMessageService.RedeliverDeadMessages. */
export function createRedeliverDeadMessages({
  deadMessages,
}: DeadMessageDeps): MethodImplementation<typeof DeadMessageService.method.redeliverDeadMessages> {
  return async (request, ctx) => {
    const { namespace, principalId } = requirePrincipal(ctx);
    const choice = toChoice(request);
    const key = mailKey(namespace, principalId, request.requestId);
    const name = { key, bodyHash: hashChoice(choice) };
    const order = { namespace, choice, limit: REDELIVER_MAX, leaf: ctx.audit };
    const ids = await deadMessages.redeliver(order, name);
    return { deadMessageIds: ids.map(String) };
  };
}

function hashChoice(choice: DeadMessageChoice): bigint {
  const { toAgentId, from, reason } = choice.kind === "filter" ? choice.filter : NO_FILTER;
  const ids = choice.kind === "ids" ? choice.ids.map(String).sort() : [];
  const text = JSON.stringify([ids, toAgentId ?? "", from ?? "", reason ?? ""]);
  return createHash("sha256").update(text).digest().readBigInt64BE(0);
}

const NO_FILTER = { toAgentId: undefined, from: undefined, reason: undefined };
