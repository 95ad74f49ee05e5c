/** Writes ConnectResponse: what is carried as it came, what the router says by hand, the rest by its type.
 *
 * Encoded messages may be written one after the other: a parser merges them (protobuf.dev, "Last One Wins"). */
import { create, toBinary } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { ConnectResponseSchema } from "@nexus/proto/mesh";
import { fieldSize, fieldSizeIfAny, textSize, uintSize, type WireWriter } from "@nexus/rpc";
import type { MailDelivery } from "../../domain/mail.ts";
import type { Message, SendResult } from "../../domain/message.ts";
import type { AgentBatch, DrainNotice } from "../../domain/outbox.ts";
import { OUTCOME_NUMBERS } from "../convert.ts";
import { timeSize, toTime, writeTime } from "./time.ts";

/** Field numbers of ConnectResponse. */
const ASSIGNMENTS = 2;
const CANCELS = 3;
const RESULTS = 4;
const DELIVERIES = 5;
const OUTCOMES = 6;
const NOTHING = Buffer.alloc(0);

/** Writes a frame for an agent. */
export function writeAgentFrame(writer: WireWriter, batch: AgentBatch, nowMs: number): Buffer {
  for (const { bytes } of batch.assignments) writer.bytes(ASSIGNMENTS, bytes);
  for (const { bytes } of batch.cancels) writer.bytes(CANCELS, bytes);
  for (const bytes of batch.results) writer.bytes(RESULTS, bytes);
  for (const delivery of batch.deliveries) {
    if (delivery.kind === "mail") writeMail(writer, delivery, nowMs);
    else writeDelivery(writer, delivery, nowMs);
  }
  for (const result of batch.outcomes) writeOutcome(writer, result);
  if (batch.drain !== undefined) writer.raw(encodeDrain(batch.drain));
  return writer.take();
}

function writeDelivery(writer: WireWriter, message: Message, nowMs: number): void {
  const { deliveryId, subject, inReplyTo, traceparent } = message;
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
      fieldSizeIfAny(traceparent.length),
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
  const { reason = "", position = 0 } = result;
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
      uintSize(duplicate),
  );
  writer.text(1, result.messageId);
  writer.uint(2, outcome);
  writer.text(3, result.text);
  if (retryAfter !== undefined) writeTime(writer, 4, retryAfter);
  writer.text(5, reason);
  writer.uint(6, position);
  writer.uint(7, duplicate);
}

function encodeDrain({ reason, reconnectWithinMs }: DrainNotice): Uint8Array {
  const drain = { reason, reconnectWithin: durationFromMs(reconnectWithinMs) };
  return toBinary(ConnectResponseSchema, create(ConnectResponseSchema, { drain }));
}
