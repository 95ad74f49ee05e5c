/** The contract's rules for what agents send, checked in place. What passes here may be passed on unread: it is well
 * formed all the way down, so that no agent can break an orchestrator's stream.
 *
 * The rules are those of the proto files; a test compares them with protovalidate on generated frames. */
import { LENGTH, textLength, VARINT, WireError, type WireReader } from "@nexus/rpc";

const CONTENT_TYPE_MAX = 128;
const PAYLOAD_MAX = 262_144;

/** Fails unless the field has the wire type of its declared type. */
export function expectType(reader: WireReader, type: number): void {
  if (reader.type !== type) throw new WireError(`field ${reader.field} has the wrong type`);
}

/** Reads a message field by field and returns its bytes; `read` takes each value or skips it. */
export function message(reader: WireReader, read: (reader: WireReader) => void): Buffer {
  expectType(reader, LENGTH);
  const outer = reader.enter();
  const bytes = reader.message();
  while (reader.next()) read(reader);
  reader.leave(outer);
  return bytes;
}

/** As message(), where nobody wants the bytes: to see them takes an object. */
export function fields(reader: WireReader, read: (reader: WireReader) => void): void {
  expectType(reader, LENGTH);
  const outer = reader.enter();
  while (reader.next()) read(reader);
  reader.leave(outer);
}

/** Reads a text with a length rule, as bytes. */
export function text(reader: WireReader, what: string, max: number): Buffer {
  expectType(reader, LENGTH);
  const bytes = reader.bytes();
  if (textLength(bytes) > max) throw tooLong(what, max);
  return bytes;
}

/** As text(); where it is what the last one was, that one is returned: to see bytes takes an object. */
export function textLike(reader: WireReader, last: Buffer, what: string, max: number): Buffer {
  expectType(reader, LENGTH);
  return reader.passSame(last) ? last : text(reader, what, max);
}

/** As id(); where it is what the last one was, that one is returned. */
export function idLike(reader: WireReader, last: string, what: string, max: number): string {
  expectType(reader, LENGTH);
  return reader.passSameText(last) ? last : id(reader, what, max);
}

/** Checks a text that nobody here reads. */
export function checkText(reader: WireReader, what: string, max: number): void {
  expectType(reader, LENGTH);
  if (reader.passText() > max) throw tooLong(what, max);
}

/** Reads an id: a text that is looked up and compared. */
export function id(reader: WireReader, what: string, max: number): string {
  expectType(reader, LENGTH);
  const value = reader.text(max);
  if (value.length > max && Array.from(value).length > max) throw tooLong(what, max);
  return value;
}

function tooLong(what: string, max: number): WireError {
  return new WireError(`${what} must have at most ${max} characters`);
}

/** Fails for an id that must be there. */
export function expectId(value: string, what: string): void {
  if (value === "") throw new WireError(`${what} must have at least 1 character`);
}

/** Checks a bytes field. */
export function data(reader: WireReader, what: string, max: number): void {
  expectType(reader, LENGTH);
  if (reader.passBytes() > max) throw new WireError(`${what} must have at most ${max} bytes`);
}

/** Checks a Payload and returns its bytes. */
export function payload(reader: WireReader): Buffer {
  return message(reader, readPayloadField);
}

/** Checks a Payload that nobody here passes on by itself. */
export function checkPayload(reader: WireReader): void {
  fields(reader, readPayloadField);
}

function readPayloadField(reader: WireReader): void {
  if (reader.field === 1) checkText(reader, "content_type", CONTENT_TYPE_MAX);
  else if (reader.field === 2) data(reader, "payload.data", PAYLOAD_MAX);
  else reader.skip();
}

/** Reads an int64 that must be above 0. */
export function positive(reader: WireReader, what: string): bigint {
  expectType(reader, VARINT);
  const value = reader.int64();
  if (value <= 0n) throw new WireError(`${what} must be greater than 0`);
  return value;
}

/** Reads a Duration between two bounds, in milliseconds. */
export function duration(reader: WireReader, what: string, minMs: number, maxMs: number): number {
  let seconds = 0n;
  let nanos = 0n;
  fields(reader, ({ field }) => {
    if (field > 2) {
      reader.skip();
      return;
    }
    expectType(reader, VARINT);
    if (field === 1) seconds = reader.int64();
    else nanos = BigInt.asIntN(32, reader.int64());
  });
  const ms = Number(seconds) * 1_000 + Number(nanos) / 1e6;
  if (!(ms >= minMs && ms <= maxMs)) {
    throw new WireError(`${what} must be ${minMs} ms to ${maxMs} ms`);
  }
  return ms;
}

/** Reads an enum whose numbers are 0 to `max`. */
export function enumUpTo(reader: WireReader, what: string, max: number): number {
  expectType(reader, VARINT);
  const value = reader.int32();
  if (value < 0 || value > max) throw new WireError(`${what} is not known`);
  return value;
}
