import { isUtf8 } from "node:buffer";
import type { Payload } from "@nexus/proto/common";
import { KiB, NexusError } from "@nexus/shared";

/** Largest body that travels inside a message; the contract's limit. */
export const PAYLOAD_BYTES_MAX = 256 * KiB;

/** Longest media type, in characters; the contract's limit. */
const CONTENT_TYPE_LENGTH_MAX = 128;
/** Media type of everything that is neither bytes nor a RawPayload. */
export const JSON_CONTENT_TYPE = "application/json";
const TEXT_CONTENT_TYPE = "text/plain; charset=utf-8";
const BINARY_CONTENT_TYPE = "application/octet-stream";
const BYTE_ORDER_MARK = "\ufeff";
const REPLACEMENT = "\ufffd";

/** The part of a Payload that its maker sets. */
export interface PayloadInit {
  readonly contentType: string;
  readonly data: Uint8Array<ArrayBuffer>;
}

/** A value that already is a payload: used as it is, whatever its media type. */
export class RawPayload {
  readonly contentType: string;
  readonly data: Uint8Array<ArrayBuffer>;

  constructor(contentType: string, data: Uint8Array) {
    this.contentType = contentType;
    this.data = new Uint8Array(data);
  }
}

/** Names a stored body. */
export interface StoredReference {
  /** 32 bytes. */
  readonly sha256: Uint8Array<ArrayBuffer>;
  readonly sizeBytes: bigint;
}

/** A payload that refers to a stored body: used as it is. */
export class StoredPayload {
  readonly contentType: string;
  readonly reference: StoredReference;

  constructor(contentType: string, reference: StoredReference) {
    this.contentType = contentType;
    this.reference = reference;
  }
}

/** Turns a value into a payload: bytes stay bytes, a RawPayload keeps its media type, all else becomes JSON.
 *
 * Errors: invalid/PAYLOAD_TOO_LARGE above 256 KiB, for which there is toStoredPayload(); invalid/REQUEST_INVALID for a media
 * type of more than 128 characters; invalid/PAYLOAD_NOT_JSON for values JSON cannot express. */
export function toPayload(value: unknown): PayloadInit {
  const payload = encodePayload(value);
  if (payload.data.byteLength > PAYLOAD_BYTES_MAX) {
    throw payloadTooLarge(payload.data.byteLength, PAYLOAD_BYTES_MAX);
  }
  return payload;
}

/** As toPayload(), of any size. */
export function encodePayload(value: unknown): PayloadInit {
  const payload = encode(value);
  if (payload.contentType.length > CONTENT_TYPE_LENGTH_MAX) {
    throw new NexusError({
      kind: "invalid",
      reason: "REQUEST_INVALID",
      message: `A media type has at most ${CONTENT_TYPE_LENGTH_MAX} characters.`,
    });
  }
  return payload;
}

/** Makes the error for a body beyond a limit. */
export function payloadTooLarge(bytes: number, limit: number): NexusError {
  return new NexusError({
    kind: "invalid",
    reason: "PAYLOAD_TOO_LARGE",
    message: `The payload has ${bytes} bytes, the limit is ${limit}.`,
  });
}

function encode(value: unknown): PayloadInit {
  if (value instanceof RawPayload) return value;
  if (value instanceof Uint8Array) {
    return { contentType: BINARY_CONTENT_TYPE, data: new Uint8Array(value) };
  }
  const text = JSON.stringify(value) as string | undefined;
  if (text === undefined && value !== undefined) {
    throw new NexusError({
      kind: "invalid",
      reason: "PAYLOAD_NOT_JSON",
      message: `A ${typeof value} cannot be sent as JSON.`,
    });
  }
  const data = Buffer.from(text ?? "null");
  return { contentType: JSON_CONTENT_TYPE, data };
}

/** Reads a payload: JSON becomes a value, text a string, anything else its bytes; an absent one is undefined, and one that only
 * refers to its body is returned as it is, for fetchPayload().
 *
 * Errors: invalid/PAYLOAD_NOT_JSON when the media type says JSON and the body is none. */
export function fromPayload(payload: Payload | undefined): unknown {
  if (payload === undefined) return undefined;
  if (payload.reference !== undefined) return payload;
  if (payload.contentType === JSON_CONTENT_TYPE) return parseJson(payload.data);
  const type = payload.contentType.toLowerCase();
  if (type.startsWith(JSON_CONTENT_TYPE)) return parseJson(payload.data);
  if (type === TEXT_CONTENT_TYPE || type.startsWith("text/")) {
    return new TextDecoder().decode(payload.data);
  }
  return payload.data;
}

function parseJson(data: Uint8Array): unknown {
  try {
    return JSON.parse(readText(data));
  } catch (error) {
    throw new NexusError({
      kind: "invalid",
      reason: "PAYLOAD_NOT_JSON",
      message: "The payload says it is JSON, but it is not.",
      cause: error,
    });
  }
}

/** Reads a text as a strict TextDecoder does, which costs more to make than a short text to read. */
function readText(data: Uint8Array): string {
  const bytes = Buffer.isBuffer(data)
    ? data
    : Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const text = bytes.toString("utf8");
  // What is not UTF-8 becomes this character; it may also be there by itself.
  if (text.includes(REPLACEMENT) && !isUtf8(data)) throw new TypeError("The body is not UTF-8.");
  return text.startsWith(BYTE_ORDER_MARK) ? text.slice(1) : text;
}
