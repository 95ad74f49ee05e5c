import {
  create,
  type DescMessage,
  type DescMethod,
  fromBinary,
  isMessage,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { NexusError } from "@nexus/shared";
import { useBufferText } from "./buffer-text.ts";
import { tryDecodePlain } from "./plain-decoder.ts";
import { tryEncodePlain } from "./plain-encoder.ts";

useBufferText();

const READ_OPTIONS = { readUnknownFields: false } as const;

/** Passes bytes through: the transport carries Buffers only, so that a relay costs no decoding and a message that
 * does not parse becomes our own error instead of the transport's. */
export function identity(bytes: Buffer): Buffer {
  return bytes;
}

/** Returns the HTTP/2 path of a method. */
export function methodPath(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

/** Says whether the caller may send many messages. */
export function isRequestStream(method: DescMethod): boolean {
  return method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming";
}

/** Says whether the server may answer with many messages. */
export function isResponseStream(method: DescMethod): boolean {
  return method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming";
}

/** Serialises a message, or the plain object that would make one.
 *
 * Errors: an Error for a value that its field does not hold. */
export function encode<D extends DescMessage>(schema: D, message: MessageInitShape<D>): Buffer {
  const plain = tryEncodePlain(schema, message);
  if (plain !== undefined) return plain;
  const whole = isMessage(message, schema) ? message : create(schema, message);
  const bytes = toBinary(schema, whole);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Parses a message; fields the schema does not know are dropped.
 *
 * Errors: WireError, or what protobuf-es throws; decodeRequest and the client give it a kind. */
export function decode<D extends DescMessage>(schema: D, bytes: Uint8Array): MessageShape<D> {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return tryDecodePlain(schema, buffer) ?? fromBinary(schema, bytes, READ_OPTIONS);
}

/** Parses a request. Errors: invalid/REQUEST_MALFORMED. */
export function decodeRequest<D extends DescMessage>(
  schema: D,
  bytes: Uint8Array,
): MessageShape<D> {
  try {
    return decode(schema, bytes);
  } catch (cause) {
    throw new NexusError({
      kind: "invalid",
      reason: "REQUEST_MALFORMED",
      message: `The request is not a valid ${schema.typeName}.`,
      cause,
    });
  }
}

/** Parses a response. Errors: internal/PROTOCOL_ERROR. */
export function decodeResponse<D extends DescMessage>(
  schema: D,
  bytes: Uint8Array,
): MessageShape<D> {
  try {
    return decode(schema, bytes);
  } catch (cause) {
    throw new NexusError({
      kind: "internal",
      reason: "PROTOCOL_ERROR",
      message: `The server's answer is not a valid ${schema.typeName}.`,
      cause,
    });
  }
}
