/** Writes ConnectResponse: what is carried as it came, what the router says by hand, the rest by its type.
 *
 * Encoded messages may be written one after the other: a parser merges them (protobuf.dev, "Last One Wins"). */
import { create, toBinary } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { ConnectResponseSchema } from "@nexus/proto/mesh";
import { fieldSize, fieldSizeIfAny, textSize, uintSize, type WireWriter } from "@nexus/rpc";
import type { Message, SendResult } from "../../domain/message.ts";
import type { AgentBatch, DrainNotice } from "../../domain/outbox.ts";
import { OUTCOME_NUMBERS } from "../convert.ts";

/** Field numbers of ConnectResponse. */
const ASSIGNMENTS = 2;
const CANCELS = 3;
const RESULTS = 4;
const DELIVERIES = 5;
const OUTCOMES = 6;
const NOTHING = Buffer.alloc(0);
const NANOS_PER_MS = 1e6;

/** Writes a frame for an agent. */
export function writeAgentFrame(writer: WireWriter, batch: AgentBatch, nowMs: number): Buffer {
  for (const { bytes } of batch.assignments) writer.bytes(ASSIGNMENTS, bytes);
  for (const { bytes } of batch.cancels) writer.bytes(CANCELS, bytes);
  for (const bytes of batch.results) writer.bytes(RESULTS, bytes);
  for (const message of batch.deliveries) writeDelivery(writer, message, nowMs);
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

function writeOutcome(writer: WireWriter, result: SendResult): void {
  const outcome = OUTCOME_NUMBERS[result.outcome];
  const retryAfter = result.retryAfterMs === undefined ? undefined : toTime(result.retryAfterMs);
  writer.open(
    OUTCOMES,
    textSize(result.messageId) +
      uintSize(outcome) +
      textSize(result.text) +
      (retryAfter === undefined ? 0 : fieldSize(timeSize(retryAfter))),
  );
  writer.text(1, result.messageId);
  writer.uint(2, outcome);
  writer.text(3, result.text);
  if (retryAfter !== undefined) writeTime(writer, 4, retryAfter);
}

/** A Duration or a Timestamp of 0 or more: both have seconds in field 1 and nanos in field 2. */
interface Time {
  readonly seconds: number;
  readonly nanos: number;
}

function toTime(ms: number): Time {
  const seconds = Math.floor(ms / 1_000);
  return { seconds, nanos: Math.floor((ms - seconds * 1_000) * NANOS_PER_MS) };
}

function timeSize({ seconds, nanos }: Time): number {
  return uintSize(seconds) + uintSize(nanos);
}

function writeTime(writer: WireWriter, field: number, time: Time): void {
  writer.open(field, timeSize(time));
  writer.uint(1, time.seconds);
  writer.uint(2, time.nanos);
}

function encodeDrain({ reason, reconnectWithinMs }: DrainNotice): Uint8Array {
  const drain = { reason, reconnectWithin: durationFromMs(reconnectWithinMs) };
  return toBinary(ConnectResponseSchema, create(ConnectResponseSchema, { drain }));
}
