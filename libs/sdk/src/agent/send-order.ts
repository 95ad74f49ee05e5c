/** What is to be sent, as an item of a frame. */
import { durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import { type Delivery, DeliveryClass, GatherMode } from "@nexus/proto/mesh";
import type { NexusError } from "@nexus/shared";
import { toPayload } from "../payload.ts";
import { type Cause, causeFields } from "./cause.ts";
import type { Address, GatherOptions, ManyAddress, MessageOptions } from "./messages.ts";
import type { SendInit } from "./outbox.ts";
import { messageError } from "./outcome-error.ts";
import { currentTraceparent } from "./trace.ts";

/** How long a message may take whose sender says nothing else. */
export const DEFAULT_TIMEOUT_MS = 30_000;
const TIMEOUT_MAX_MS = 600_000;
/** Longest agent id, subject and message id, in characters. */
const NAME_LENGTH_MAX = 128;
const MESSAGE_ID_LENGTH_MAX = 64;
/** Up to 16 words. */
const TOPIC = /^[A-Za-z0-9_-]+([.][A-Za-z0-9_-]+){0,15}$/;

/** What a message is waited for: its outcome, its reply, many replies, or a reply in parts. */
export type Wish = "outcome" | "reply" | "replies" | "parts";

/** What is to be sent. */
export interface Order {
  readonly to: Address | ManyAddress;
  readonly subject: string;
  readonly body: unknown;
  readonly options: MessageOptions & GatherOptions;
  readonly cause: Cause | undefined;
}

/** Makes the item of a message. Errors: invalid/REQUEST_INVALID. */
export function toSend(order: Order, wish: Wish, messageId: string): SendInit {
  const { to, subject, options, cause } = order;
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  assertSendable({ to, subject, timeoutMs, messageId });
  return {
    messageId,
    ...toAddress(to),
    subject,
    payload: toPayload(order.body),
    expectsReply: wish !== "outcome",
    // Unset is the contract's own default.
    ...(timeoutMs === DEFAULT_TIMEOUT_MS ? {} : { timeout: durationFromMs(timeoutMs) }),
    traceparent: cause?.traceparent ?? currentTraceparent(),
    ...toTerms(options),
    ...(wish === "replies" ? { gather: toGather(options.until) } : {}),
    ...causeFields(cause, Date.now()),
  };
}

function toAddress(to: Order["to"]): Partial<SendInit> {
  if (typeof to === "string") return { toAgentId: to };
  if ("capability" in to) return { toCapability: to.capability };
  return "topic" in to ? { toTopic: to.topic } : { broadcast: true };
}

function toTerms({ durable }: MessageOptions): Partial<SendInit> {
  if (durable === undefined || durable === false) return {};
  const { ttlMs, ackWaitMs } = durable === true ? {} : durable;
  return {
    deliveryClass: DeliveryClass.DURABLE,
    ...(ttlMs === undefined ? {} : { ttl: durationFromMs(ttlMs) }),
    ...(ackWaitMs === undefined ? {} : { ackWait: durationFromMs(ackWaitMs) }),
  };
}

function toGather(until: GatherOptions["until"] = "all") {
  if (until === "first") return { mode: GatherMode.FIRST };
  if (until === "all") return { mode: GatherMode.ALL };
  return { mode: GatherMode.QUORUM, quorum: until };
}

/** One item that breaks the contract's rules ends the whole session, so it must not get into a frame. */
function assertSendable(wanted: {
  readonly to: Order["to"];
  readonly subject: string;
  readonly timeoutMs: number;
  readonly messageId: string;
}): void {
  const { to, subject, timeoutMs, messageId } = wanted;
  const name = typeof to === "string" ? to : nameOf(to);
  if (name === "" || name.length > 2 * NAME_LENGTH_MAX) throw unsendable("An address has a name.");
  if (typeof to === "string" && to.length > NAME_LENGTH_MAX) {
    throw unsendable(`An agent id has 1 to ${NAME_LENGTH_MAX} characters.`);
  }
  if (typeof to !== "string" && "topic" in to && !TOPIC.test(to.topic)) {
    throw unsendable("A topic is up to 16 words of A-Z, a-z, 0-9, _ and - with dots between them.");
  }
  if (subject.length > NAME_LENGTH_MAX) {
    throw unsendable(`A subject has at most ${NAME_LENGTH_MAX} characters.`);
  }
  if (messageId === "" || messageId.length > MESSAGE_ID_LENGTH_MAX) {
    throw unsendable(`A message id has 1 to ${MESSAGE_ID_LENGTH_MAX} characters.`);
  }
  if (!(timeoutMs >= 1 && timeoutMs <= TIMEOUT_MAX_MS)) {
    throw unsendable("A message's timeout is 1 ms to 10 minutes.");
  }
}

function nameOf(to: Exclude<Order["to"], string>): string {
  if ("capability" in to) return to.capability;
  return "topic" in to ? to.topic : "everyone";
}

/** Makes the error for what must not get into a frame. */
export function unsendable(message: string): NexusError {
  return messageError("invalid", "REQUEST_INVALID", message);
}

/** How much time a delivery's sender has left. */
export function leftOf({ timeout }: Delivery): number {
  return timeout === undefined ? DEFAULT_TIMEOUT_MS : durationMs(timeout);
}
