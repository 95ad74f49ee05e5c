/** What replicas tell each other about messages, as bytes. Time is what is left of it. */
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { durationFromMs, durationMs, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import {
  DeliveryOutcome,
  type RelayedBody,
  type RelayedBodySchema,
  type RelayedOutcome,
  type ReplicaItem,
  ReplicaItemSchema,
} from "@nexus/proto/mesh";
import { detachFromFrame } from "@nexus/shared";
import { detachLetter } from "../domain/message/carried.ts";
import { type Letter, OUTCOMES, type Outcome, type Verdict } from "../domain/message/letter.ts";
import type { RelayedItem } from "../domain/remote/remote-ports.ts";

type ItemInit = NonNullable<MessageInitShape<typeof ReplicaItemSchema>["item"]>;

/** Encodes an item. */
export function encodeItem(item: RelayedItem, nowMs: number): Uint8Array {
  return toBinary(ReplicaItemSchema, create(ReplicaItemSchema, { item: toItem(item, nowMs) }));
}

/** Decodes an item; undefined when it is of a later version.
 *
 * Errors: an Error when the bytes are none. */
export function decodeItem(bytes: Uint8Array, nowMs: number): RelayedItem | undefined {
  return fromItem(fromBinary(ReplicaItemSchema, bytes).item, nowMs);
}

function toItem(item: RelayedItem, nowMs: number): ItemInit {
  switch (item.kind) {
    case "message": {
      const { deliveryId, namespace, from: fromPrincipalId, toAgentId, letter } = item.message;
      const body = toBody(letter, nowMs);
      return {
        case: "message",
        value: { deliveryId, namespace, fromPrincipalId, toAgentId, body },
      };
    }
    case "copies": {
      const { namespace, from: fromPrincipalId, toAgentIds, letter } = item.copies;
      const body = toBody(letter, nowMs);
      return {
        case: "copies",
        value: { namespace, fromPrincipalId, toAgentIds: [...toAgentIds], body },
      };
    }
    case "reply": {
      const { deliveryId, requestId, from: fromPrincipalId, letter } = item.reply;
      const { more = false, part = 0 } = letter;
      const value = { deliveryId, requestId, fromPrincipalId, more, part };
      return { case: "reply", value: { ...value, body: toBody(letter, nowMs) } };
    }
    case "outcome":
      return { case: "outcome", value: toOutcome(item.outcome.deliveryId, item.outcome.verdict) };
    case "cancel":
      return { case: "cancel", value: { deliveryId: item.deliveryId } };
    case "publication": {
      const { topic, from: fromPrincipalId, subject, payload, acceptedAtMs } = item.published;
      const acceptTime = timestampFromMs(Math.floor(acceptedAtMs));
      const value = { namespace: item.namespace, topic, fromPrincipalId, acceptTime };
      return { case: "publication", value: { ...value, subject, payload } };
    }
  }
}

function toBody(letter: Letter, nowMs: number): MessageInitShape<typeof RelayedBodySchema> {
  const { messageId, payload, subject, traceparent, expectsReply, target, chain } = letter;
  return {
    messageId,
    payload,
    subject,
    traceparent,
    expectsReply,
    left: durationFromMs(Math.ceil(letter.timeoutMs)),
    topic: target?.kind === "topic" ? target.name : "",
    ...(chain === undefined
      ? {}
      : { chain: { hops: chain.hops, ancestors: [...chain.ancestors], ...leftOf(chain, nowMs) } }),
  };
}

function leftOf({ deadlineAtMs }: NonNullable<Letter["chain"]>, nowMs: number) {
  if (deadlineAtMs === undefined) return {};
  return { left: durationFromMs(Math.max(0, Math.ceil(deadlineAtMs - nowMs))) };
}

function toOutcome(deliveryId: string, verdict: Verdict) {
  const { outcome, text, retryAfterMs, reason = "", failureReason = "" } = verdict;
  return {
    deliveryId,
    failureReason,
    outcome: DeliveryOutcome[outcome.toUpperCase() as keyof typeof DeliveryOutcome],
    text,
    reason,
    ...(retryAfterMs === undefined ? {} : { retryAfter: durationFromMs(Math.ceil(retryAfterMs)) }),
  };
}

function fromItem(item: ReplicaItem["item"], nowMs: number): RelayedItem | undefined {
  switch (item.case) {
    case "message": {
      const { deliveryId, namespace, fromPrincipalId: from, toAgentId, body } = item.value;
      const letter = fromBody(body, nowMs);
      return { kind: "message", message: { deliveryId, namespace, from, toAgentId, letter } };
    }
    case "copies": {
      const { namespace, fromPrincipalId: from, toAgentIds, body } = item.value;
      return {
        kind: "copies",
        copies: { namespace, from, toAgentIds, letter: fromBody(body, nowMs) },
      };
    }
    case "reply": {
      const { deliveryId, requestId, fromPrincipalId: from, body, more, part } = item.value;
      const letter = { ...fromBody(body, nowMs), more, part };
      return { kind: "reply", reply: { deliveryId, requestId, from, letter } };
    }
    case "outcome": {
      const verdict = fromOutcome(item.value);
      return { kind: "outcome", outcome: { deliveryId: item.value.deliveryId, verdict } };
    }
    case "cancel":
      return { kind: "cancel", deliveryId: item.value.deliveryId };
    case "publication": {
      const { namespace, topic, fromPrincipalId: from, subject, payload, acceptTime } = item.value;
      const acceptedAtMs = acceptTime === undefined ? nowMs : timestampMs(acceptTime);
      const parts = { payload: detachFromFrame(payload), subject: detachFromFrame(subject) };
      return {
        kind: "publication",
        namespace,
        published: { topic, from, acceptedAtMs, ...parts },
      };
    }
    default:
      return undefined;
  }
}

function fromBody(body: RelayedBody | undefined, nowMs: number): Letter {
  if (body === undefined) throw new TypeError("a relayed message has no body");
  const { messageId, payload, subject, traceparent, expectsReply, left, topic, chain } = body;
  return detachLetter({
    messageId,
    toAgentId: "",
    payload,
    subject,
    traceparent,
    expectsReply,
    inReplyTo: "",
    timeoutMs: left === undefined ? 0 : durationMs(left),
    target: topic === "" ? undefined : { kind: "topic", name: topic },
    chain:
      chain === undefined
        ? undefined
        : {
            hops: chain.hops,
            ancestors: chain.ancestors,
            deadlineAtMs: chain.left === undefined ? undefined : nowMs + durationMs(chain.left),
          },
  });
}

/** An outcome of a later version says no more than that it is over. */
function fromOutcome(relayed: RelayedOutcome): Verdict {
  const { outcome, text, retryAfter, reason, failureReason } = relayed;
  const word = DeliveryOutcome[outcome]?.toLowerCase() as Outcome | undefined;
  return {
    outcome: word !== undefined && OUTCOMES.includes(word) ? word : "refused",
    text,
    ...(reason === "" ? {} : { reason }),
    ...(failureReason === "" ? {} : { failureReason }),
    ...(retryAfter === undefined ? {} : { retryAfterMs: durationMs(retryAfter) }),
  };
}
