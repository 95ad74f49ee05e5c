/** What decides about a message, without anything that changes. */

import { DELIVERY_BACKLOG_BYTES, MESSAGE_QUEUE_MAX, OVERLOADED_RETRY_MS } from "../limits.ts";
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

/** Says what kept a message from its outcome in time. */
export function expiryText({ phase, expectsReply }: Message): string {
  if (phase === "queued") return "the receiver granted no credit in time";
  return expectsReply && phase !== "sent"
    ? "it was not answered in time"
    : "it was not acknowledged in time";
}

/** The answer for an agent that is nowhere. */
export const NO_SESSION: Verdict = { outcome: "no_such_agent", text: "the agent has no session" };

/** Says why a receiver gets no further message now; undefined when it does. */
export function whyNotTaken(receiver: Receiver | undefined, nowMs: number): Verdict | undefined {
  if (receiver === undefined || receiver.over) return NO_SESSION;
  if (receiver.inbox.size >= MESSAGE_QUEUE_MAX) {
    const text = "the receiver's queue is full";
    return { outcome: "overloaded", text, retryAfterMs: OVERLOADED_RETRY_MS };
  }
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

/** What there is no room for may be sent again. */
export const NO_ROOM = { outcome: "overloaded", retryAfterMs: OVERLOADED_RETRY_MS } as const;

/** The answer to a reply whose asker is gone. */
export const ASKER_GONE: Verdict = { outcome: "no_such_agent", text: "the asker's session ended" };

/** The delivery that a reply of this replica answers. */
export function requestOf(sender: Sender, { inReplyTo }: Letter): Message | undefined {
  return sender instanceof Session ? sender.delivered.get(inReplyTo) : undefined;
}
