/** The fields of a durable Delivery that never change, encoded once: they are stored and later sent as they are. */
import { DeliveryClass } from "@nexus/proto/mesh";
import { WireWriter } from "@nexus/rpc";
import { ACK_WAIT_DEFAULT_MS } from "../../domain/limits.ts";
import type { EncodeEnvelope } from "../../domain/mail/mail-ports.ts";
import { writeChain } from "./chain.ts";
import { toTime, writeTime } from "./time.ts";

/** Creates the encoder. It has a buffer of its own: envelopes are made while frames are being written. */
export function createEnvelopeEncoder(): EncodeEnvelope {
  const writer = new WireWriter();
  return (letter, sender, nowMs) => {
    writer.text(2, sender);
    writer.bytes(3, letter.payload);
    writer.bytesIfAny(4, letter.subject);
    writeTime(writer, 8, toTime(nowMs));
    writer.bytesIfAny(9, letter.traceparent);
    writer.text(10, letter.messageId);
    writeTime(writer, 12, toTime(letter.mail?.ackWaitMs ?? ACK_WAIT_DEFAULT_MS));
    writer.uint(13, DeliveryClass.DURABLE);
    if (letter.target?.kind === "topic") writer.text(15, letter.target.name);
    // Who waits at the beginning does not wait for a durable message: it has a time of its own.
    if (letter.chain !== undefined) {
      writeChain(writer, { ...letter.chain, deadlineAtMs: undefined }, nowMs);
    }
    return writer.take();
  };
}
