/** What decides about a message, without anything that changes. */

import {
  DELIVERY_BACKLOG_BYTES,
  FAR_UNDER_WAY,
  MESSAGE_QUEUE_BYTES_MAX,
  MESSAGE_QUEUE_MAX,
  OVERLOADED_RETRY_MS,
  PENDING_PER_SENDER_MAX,
} from "../limits.ts";
import type { Acknowledgement } from "../mail/mail.ts";
import { Session } from "../session/session.ts";
import type { Letter, Verdict } from "./letter.ts";
import type { Deliverable, Message, Receiver, Sender } from "./message.ts";

/** Says why a message is refused whatever the receiver; undefined when it is not. */
export function whyRefused(sender: Sender, letter: Letter): Verdict | undefined {
  if (sender.unsettled.has(letter.messageId)) {
    return refused("MESSAGE_ID_PENDING", "a message with this id has no outcome yet");
  }
  if (letter.mail !== undefined && (letter.expectsReply || letter.inReplyTo !== "")) {
    return refused("NOT_DURABLE", "a durable message neither expects a reply nor is one");
  }
  if (letter.inReplyTo !== "") return undefined;
  return whyNotAddressed(sender, letter) ?? whyNotGathered(sender, letter);
}

function whyNotAddressed(sender: Sender, letter: Letter): Verdict | undefined {
  if (letter.target !== undefined) {
    if (letter.manyAddresses !== true && letter.toAgentId === "") return undefined;
    return refused("MANY_ADDRESSES", "it has more than one address");
  }
  if (letter.toAgentId === "") return refused("NO_RECEIVER", "it names no receiver");
  if (sender instanceof Session && letter.toAgentId === sender.agentId) {
    return refused("SELF", "it names its sender as receiver");
  }
  return undefined;
}

/** Only a request to many gathers, and a request to many has to. */
function whyNotGathered(sender: Sender, letter: Letter): Verdict | undefined {
  const { gather, target, expectsReply } = letter;
  if (gather === undefined) {
    if (!expectsReply || target === undefined || target.kind === "capability") return undefined;
    return refused("GATHER_INVALID", "a request to many has to say how many replies it wants");
  }
  const hasQuorum = gather.mode !== "quorum" || gather.quorum > 0;
  const mayGather = expectsReply && target !== undefined && sender instanceof Session;
  if (mayGather && hasQuorum) return undefined;
  return refused("GATHER_INVALID", "gather is for an agent's requests to many, with a quorum");
}

/** Makes the answer to a message that is refused. */
export function refused(reason: string, text: string): Verdict {
  return { outcome: "refused", reason, text };
}

/** Says whether a session takes another delivery now: it reads, granted it, and is not behind. */
export function canTake(receiver: Session): boolean {
  return (
    receiver.credit > 0 &&
    receiver.attached &&
    receiver.outbox.deliveryBytes < DELIVERY_BACKLOG_BYTES
  );
}

/** Says whether a message would wait for its receiver, which has others before it. */
export function hasToWait(receiver: Receiver): boolean {
  if (receiver instanceof Session) return receiver.inbox.size > 0 || !canTake(receiver);
  return receiver.inbox.size + receiver.delivered.size >= FAR_UNDER_WAY;
}

/** Says whether a receiver's queue has no room for a body. */
export function isQueueFull(
  { inbox }: { readonly inbox: { readonly size: number; readonly bytes: number } },
  bytes: number,
): boolean {
  return inbox.size >= MESSAGE_QUEUE_MAX || inbox.bytes + bytes > MESSAGE_QUEUE_BYTES_MAX;
}

/** Says whether a sender has to wait for outcomes before it sends more. */
export function hasTooMany({ unsettled }: Sender): boolean {
  return unsettled.size >= PENDING_PER_SENDER_MAX;
}

/** Says what kept a message from its outcome in time. */
export function expiryText({ phase, expectsReply }: Message): string {
  if (phase === "queued") return "the receiver granted no credit in time";
  return expectsReply && phase !== "sent"
    ? "it was not answered in time"
    : "it was not acknowledged in time";
}

/** Says whether a message whose time is over tells that its receiver, which reads, does not acknowledge. Nothing can be
 * said by what was not written yet, or has no stream to come back by. A part of a reply is acknowledged when its reader has
 * it, who may be slow and well. */
export function isSilence({ phase, part, payload, receiver }: Message): boolean {
  const isWritten = phase === "sent" && payload === undefined;
  return isWritten && part === 0 && receiver instanceof Session && receiver.attached;
}

/** Makes the answer to a message for which there is no room now, and which may be sent again. */
export function overloaded(text: string): Verdict {
  return { outcome: "overloaded", text, retryAfterMs: OVERLOADED_RETRY_MS };
}

/** The answers where the replica has no room, and the queue of whoever asked has none. */
export const ROUTER_FULL: Verdict = overloaded("the router is full");
export const ASKER_FULL: Verdict = overloaded("the asker's queue is full");

/** The answer to a sender that has to wait for outcomes. */
export const TOO_MANY_PENDING: Verdict = overloaded("too many messages have no outcome yet");

/** The answer for an agent that is nowhere. */
export const NO_SESSION: Verdict = { outcome: "no_such_agent", text: "the agent has no session" };

/** Says why a receiver gets no further message now; undefined when it does. */
export function whyNotTaken(
  receiver: Receiver | undefined,
  bytes: number,
  nowMs: number,
): Verdict | undefined {
  if (receiver === undefined || receiver.over) return NO_SESSION;
  if (isQueueFull(receiver, bytes)) return overloaded("the receiver's queue is full");
  const retryAfterMs = receiver.breaker?.pauseMs(nowMs) ?? 0;
  if (retryAfterMs === 0) return undefined;
  const text = "the receiver did not acknowledge the last messages in time";
  return { outcome: "breaker_open", text, retryAfterMs };
}

/** Says whether a delivery is no mail. */
export function isMessage(delivery: Deliverable): delivery is Message {
  return delivery.kind === "message";
}

/** The answer to a reply that nobody waits for. */
export const NOT_AWAITED: Verdict = refused(
  "NOT_AWAITED",
  "it answers no delivery that waits for a reply",
);

/** The answer to a reply in parts, and to its request, where one piece is asked for. */
export const PARTS_NOT_TAKEN: Verdict = refused(
  "PARTS_NOT_TAKEN",
  "the reply comes in parts, and it was asked for in one piece",
);

/** The outcome of a request whose reply lost a part. */
export const REPLY_CUT: Verdict = refused("REPLY_CUT", "a part of the reply was lost");

/** The outcome of a request whose receiver says that it does not answer, or answers no further. */
export function notAnswered({ text, reason = "" }: Acknowledgement): Verdict {
  if (reason === REPLY_CUT.reason) return REPLY_CUT;
  if (reason === "NO_HANDLER") return refused(reason, "the receiver has no handler for it");
  const why = text === "" ? "the receiver's handler failed" : text;
  return { ...refused("HANDLER_FAILED", why), failureReason: reason };
}

/** The outcome of what a session had in hand that is over. */
export const RECEIVER_GONE: Verdict = {
  outcome: "expired",
  text: "the receiver's session ended before it answered",
};

/** The answer to a reply whose asker is gone. */
export const ASKER_GONE: Verdict = { outcome: "no_such_agent", text: "the asker's session ended" };

/** The delivery that a reply of this replica answers. */
export function requestOf(sender: Sender, { inReplyTo }: Letter): Message | undefined {
  return sender instanceof Session ? sender.delivered.get(inReplyTo) : undefined;
}
