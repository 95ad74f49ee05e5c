/** What decides about a message, without anything that changes. */
import { DELIVERY_BACKLOG_BYTES } from "./limits.ts";
import type { Letter, Message, RefusedReason, Sender, Verdict } from "./message.ts";
import { Session } from "./session.ts";

/** Says why a message is refused whatever the receiver; undefined when it is not. */
export function whyRefused(sender: Sender, letter: Letter): Verdict | undefined {
  if (sender.unsettled.has(letter.messageId)) {
    return refused("MESSAGE_ID_PENDING", "a message with this id has no outcome yet");
  }
  if (letter.mail !== undefined && (letter.expectsReply || letter.inReplyTo !== "")) {
    return refused("NOT_DURABLE", "a durable message neither expects a reply nor is one");
  }
  if (letter.inReplyTo !== "") return undefined;
  if (letter.toAgentId === "") return refused("NO_RECEIVER", "it names no receiver");
  if (sender instanceof Session && letter.toAgentId === sender.agentId) {
    return refused("SELF", "it names its sender as receiver");
  }
  return undefined;
}

/** Makes the answer to a message that is refused. */
export function refused(reason: RefusedReason, text: string): Verdict {
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
