/** Writes ConnectResponse: what is carried as it came, what the router says by hand, the rest by its type.
 *
 * Encoded messages may be written one after the other: a parser merges them (protobuf.dev, "Last One Wins"). */
import { create, toBinary } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { ConnectResponseSchema } from "@nexus/proto/mesh";
import { fieldSize, fieldSizeIfAny, textSize, uintSize, type WireWriter } from "@nexus/rpc";
import type { MailDelivery } from "../../domain/mail/mail.ts";
import type { SendResult } from "../../domain/message/letter.ts";
import type { Message } from "../../domain/message/message.ts";
import type { AgentBatch, DrainNotice, Note } from "../../domain/message/outbox.ts";
import { OUTCOME_NUMBERS } from "../convert.ts";
import { chainSize, writeChain } from "./chain.ts";
import { timeSize, toTime, writeTime } from "./time.ts";

/** Field numbers of ConnectResponse. */
const ASSIGNMENTS = 2;
const CANCELS = 3;
const RESULTS = 4;
const DELIVERIES = 5;
const OUTCOMES = 6;
const LONG_TAG_EXTRA = 1;
const NOTHING = Buffer.alloc(0);

/** Writes what waits for an agent. */
export function writeAgentFrame(writer: WireWriter, batch: AgentBatch, nowMs: number): void {
  for (const { bytes } of batch.assignments) writer.bytes(ASSIGNMENTS, bytes);
  for (const { bytes } of batch.cancels) writer.bytes(CANCELS, bytes);
  for (const bytes of batch.results) writer.bytes(RESULTS, bytes);
  for (const delivery of batch.deliveries) {
    if (delivery.kind === "mail") writeMail(writer, delivery, nowMs);
    else writeDelivery(writer, delivery, nowMs);
  }
  for (const result of batch.outcomes) writeOutcome(writer, result);
  for (const note of batch.notes) writer.raw(encodeNote(note));
  if (batch.drain !== undefined) writer.raw(encodeDrain(batch.drain));
}

function writeDelivery(writer: WireWriter, message: Message, nowMs: number): void {
  const { deliveryId, subject, inReplyTo, traceparent, topic } = message;
  const from = message.sender.principalId;
  const payload = message.payload ?? NOTHING;
  const expectsReply = message.expectsReply ? 1 : 0;
  const timeout = toTime(Math.max(0, message.expiresAtMs - nowMs));
  const acceptTime = toTime(message.acceptedAtMs);
  writer.open(
    DELIVERIES,
    textSize(deliveryId) +
      textSize(from) +
      fieldSize(payload.length) +
      fieldSizeIfAny(subject.length) +
      uintSize(expectsReply) +
      textSize(inReplyTo) +
      fieldSize(timeSize(timeout)) +
      fieldSize(timeSize(acceptTime)) +
      fieldSizeIfAny(traceparent.length) +
      textSize(topic) +
      rareSize(message, nowMs),
  );
  writer.text(1, deliveryId);
  writer.text(2, from);
  writer.bytes(3, payload);
  writer.bytesIfAny(4, subject);
  writer.uint(5, expectsReply);
  writer.text(6, inReplyTo);
  writeTime(writer, 7, timeout);
  writeTime(writer, 8, acceptTime);
  writer.bytesIfAny(9, traceparent);
  writer.text(15, topic);
  writeRare(writer, message, nowMs);
}

/** What few messages have: a cause, or parts. Their tags have two bytes. */
function rareSize({ chain, part, more }: Message, nowMs: number): number {
  if (chain === undefined && part === 0) return 0;
  return (
    (chain === undefined ? 0 : LONG_TAG_EXTRA + fieldSize(chainSize(chain, nowMs))) +
    (part === 0 ? 0 : LONG_TAG_EXTRA + uintSize(part)) +
    (more ? LONG_TAG_EXTRA + uintSize(1) : 0)
  );
}

function writeRare(writer: WireWriter, { chain, part, more }: Message, nowMs: number): void {
  if (chain !== undefined) writeChain(writer, chain, nowMs);
  writer.uint(17, part);
  writer.uint(18, more ? 1 : 0);
}

/** What changes with each try, then the envelope as it was stored. */
function writeMail(writer: WireWriter, delivery: MailDelivery, nowMs: number): void {
  const { deliveryId, attempt, generation, mail } = delivery;
  const timeout = toTime(Math.max(0, mail.expiresAtMs - nowMs));
  writer.open(
    DELIVERIES,
    textSize(deliveryId) +
      fieldSize(timeSize(timeout)) +
      uintSize(attempt) +
      uintSize(generation) +
      mail.envelope.length,
  );
  writer.text(1, deliveryId);
  writeTime(writer, 7, timeout);
  writer.uint(11, attempt);
  writer.uint(14, generation);
  writer.raw(mail.envelope);
}

function writeOutcome(writer: WireWriter, result: SendResult): void {
  const outcome = OUTCOME_NUMBERS[result.outcome];
  const { reason = "", position = 0, receivers = 0, missed = 0, replies = 0 } = result;
  const { failureReason = "" } = result;
  const duplicate = result.duplicate === true ? 1 : 0;
  const retryAfter = result.retryAfterMs === undefined ? undefined : toTime(result.retryAfterMs);
  writer.open(
    OUTCOMES,
    textSize(result.messageId) +
      uintSize(outcome) +
      textSize(result.text) +
      (retryAfter === undefined ? 0 : fieldSize(timeSize(retryAfter))) +
      textSize(reason) +
      uintSize(position) +
      uintSize(duplicate) +
      uintSize(receivers) +
      uintSize(missed) +
      uintSize(replies) +
      textSize(failureReason),
  );
  writer.text(1, result.messageId);
  writer.uint(2, outcome);
  writer.text(3, result.text);
  if (retryAfter !== undefined) writeTime(writer, 4, retryAfter);
  writer.text(5, reason);
  writer.uint(6, position);
  writer.uint(7, duplicate);
  writer.uint(8, receivers);
  writer.uint(9, missed);
  writer.uint(10, replies);
  writer.text(11, failureReason);
}

function encodeNote(note: Note): Uint8Array {
  const frame =
    note.kind === "cancel"
      ? { deliveryCancels: [{ deliveryId: note.deliveryId }] }
      : {
          subscriptionResults: [{ pattern: note.pattern, group: note.group, reason: note.reason }],
        };
  return toBinary(ConnectResponseSchema, create(ConnectResponseSchema, frame));
}

function encodeDrain({ reason, reconnectWithinMs }: DrainNotice): Uint8Array {
  const drain = { reason, reconnectWithin: durationFromMs(reconnectWithinMs) };
  return toBinary(ConnectResponseSchema, create(ConnectResponseSchema, { drain }));
}
