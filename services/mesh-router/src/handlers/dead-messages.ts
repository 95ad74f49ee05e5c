/** What the methods of DeadMessageService share. */
import { create, fromBinary } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type DeadMessage as DeadMessageMessage,
  DeadMessageSchema,
  DeliverySchema,
  type DeadMessageFilter as FilterMessage,
} from "@nexus/proto/mesh";
import { NexusError } from "@nexus/shared";
import type {
  DeadMessage,
  DeadMessageChoice,
  DeadMessageFilter,
  DeadMessageStore,
} from "../domain/mail/dead-message.ts";

/** What they need. */
export interface DeadMessageDeps {
  readonly deadMessages: DeadMessageStore;
}

const ID = /^[0-9]{1,18}$/;

/** Reads an id; undefined for what cannot be one. */
export function tryDeadMessageId(id: string): bigint | undefined {
  return ID.test(id) ? BigInt(id) : undefined;
}

/** Reads a filter. */
export function toFilter(filter: FilterMessage | undefined): DeadMessageFilter {
  return {
    toAgentId: textIfAny(filter?.toAgentId),
    from: textIfAny(filter?.fromPrincipalId),
    reason: textIfAny(filter?.reason),
  };
}

function textIfAny(text: string | undefined): string | undefined {
  return text === "" ? undefined : text;
}

/** Reads which messages a call is about. Errors: invalid/REQUEST_INVALID for ids and a filter. */
export function toChoice(request: {
  readonly deadMessageIds: readonly string[];
  readonly filter?: FilterMessage | undefined;
}): DeadMessageChoice {
  const filter = toFilter(request.filter);
  if (request.deadMessageIds.length === 0) return { kind: "filter", filter };
  if (Object.values(filter).some((value) => value !== undefined)) {
    const description = "must be empty beside dead_message_ids";
    throw new NexusError({
      kind: "invalid",
      reason: "REQUEST_INVALID",
      message: `filter: ${description}.`,
      details: { fieldViolations: [{ field: "filter", description }] },
    });
  }
  const ids = request.deadMessageIds.map(tryDeadMessageId);
  return { kind: "ids", ids: ids.filter((id) => id !== undefined) };
}

/** Writes a dead message, with its body or without. */
export function toDeadMessage(dead: DeadMessage, body: "body" | "no-body"): DeadMessageMessage {
  const { messageId, subject, payload } = fromBinary(DeliverySchema, dead.envelope);
  return create(DeadMessageSchema, {
    deadMessageId: dead.id.toString(),
    toAgentId: dead.toAgentId,
    fromPrincipalId: dead.from,
    messageId,
    subject,
    reason: dead.reason,
    message: dead.text,
    attempts: dead.failures,
    dieTime: timestampFromDate(dead.diedAt),
    ...(dead.redeliveredAt === undefined
      ? {}
      : { redeliverTime: timestampFromDate(dead.redeliveredAt) }),
    ...(body === "no-body" || payload === undefined ? {} : { payload }),
  });
}
