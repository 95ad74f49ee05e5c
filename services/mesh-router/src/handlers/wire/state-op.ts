/** Reads StateOp and writes StateOpResult. Requests and answers stay bytes: whoever serves the method reads and writes them. */
import { encodeStatus, LENGTH, VARINT, WireError, type WireReader, WireWriter } from "@nexus/rpc";
import { detachFromFrame, type NexusError } from "@nexus/shared";
import { STATE_OP_TIMEOUT_DEFAULT_MS, STATE_OP_TIMEOUT_MAX_MS } from "../../domain/limits.ts";
import { duration, expectType, message, text } from "./checks.ts";

/** What an operation calls, by its field number in StateOp less FIRST_CALL; answers have the same order. */
const CALLS = ["get", "write", "transact"] as const;
const FIRST_CALL = 4;
const FIRST_ANSWER = 2;
const ERROR = FIRST_ANSWER + CALLS.length;
const TRACEPARENT_MAX = 64;
const NOTHING = Buffer.alloc(0);

/** Which method an operation calls. */
export type StateCall = (typeof CALLS)[number];

/** An operation on state as it came. */
export interface StateOp {
  readonly number: number;
  readonly timeoutMs: number;
  readonly traceparent: string;
  /** Undefined where a newer contract calls something else. */
  readonly call: StateCall | undefined;
  /** Holds no more of its frame than itself: it waits for longer. */
  readonly request: Buffer;
}

/** Reads a StateOp. Errors: WireError. */
export function readStateOp(reader: WireReader): StateOp {
  let number = 0;
  let timeoutMs = STATE_OP_TIMEOUT_DEFAULT_MS;
  let traceparent = "";
  let call: StateCall | undefined;
  let request: Buffer = NOTHING;
  message(reader, (inner) => {
    const named = CALLS[inner.field - FIRST_CALL];
    if (inner.field === 1) number = uint32(inner);
    else if (inner.field === 2) timeoutMs = duration(inner, "timeout", 1, STATE_OP_TIMEOUT_MAX_MS);
    else if (inner.field === 3) {
      traceparent = text(inner, "traceparent", TRACEPARENT_MAX).toString();
    } else if (named !== undefined) {
      expectType(inner, LENGTH);
      call = named;
      request = detachFromFrame(inner.bytes());
    } else inner.skip();
  });
  numberOf(number, "state_ops.number");
  return { number, timeoutMs, traceparent, call, request };
}

/** Reads numbers that are to be cancelled: packed, or one. Errors: WireError. */
export function readStateCancels(reader: WireReader, numbers: number[]): void {
  if (reader.type !== LENGTH) {
    numbers.push(numberOf(uint32(reader), "state_cancels"));
    return;
  }
  const outer = reader.enter();
  while (!reader.atEnd) numbers.push(numberOf(reader.uint32(), "state_cancels"));
  reader.leave(outer);
}

function numberOf(number: number, what: string): number {
  if (number === 0) throw new WireError(`${what} must be at least 1`);
  return number;
}

function uint32(reader: WireReader): number {
  expectType(reader, VARINT);
  return reader.uint32();
}

/** Only used within one turn. */
const writer = new WireWriter();

/** Writes the answer of a method. */
export function writeAnswer(number: number, call: StateCall, answer: Uint8Array): Buffer {
  return write(number, FIRST_ANSWER + CALLS.indexOf(call), answer);
}

/** Writes why there is none. */
export function writeFailure(number: number, error: NexusError, service: string): Buffer {
  return write(number, ERROR, encodeStatus(error, service));
}

function write(number: number, field: number, content: Uint8Array): Buffer {
  writer.uint(1, number);
  writer.bytes(field, content);
  return writer.take();
}
