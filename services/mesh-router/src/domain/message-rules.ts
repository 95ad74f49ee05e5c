/** What decides about a message, without anything that changes. */
import { DELIVERY_BACKLOG_BYTES } from "./limits.ts";
import type { Letter, Message, Sender } from "./message.ts";
import { Session } from "./session.ts";

/** Says why a message is refused whatever the receiver; undefined when it is not. */
export function whyRefused(sender: Sender, letter: Letter): string | undefined {
  if (sender.unsettled.has(letter.messageId)) return "a message with this id has no outcome yet";
  if (letter.inReplyTo !== "") return undefined;
  if (letter.toAgentId === "") return "it names no receiver";
  if (sender instanceof Session && letter.toAgentId === sender.agentId) {
    return "it names its sender as receiver";
  }
  return undefined;
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
