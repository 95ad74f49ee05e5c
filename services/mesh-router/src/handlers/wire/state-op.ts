/** Reads StateOp and writes StateOpResult. Requests and answers stay bytes: whoever serves the method reads and writes them. */
import { encodeStatus, LENGTH, VARINT, WireError, type WireReader, WireWriter } from "@nexus/rpc";
import type { NexusError } from "@nexus/shared";
import { STATE_OP_TIMEOUT_DEFAULT_MS, STATE_OP_TIMEOUT_MAX_MS } from "../../domain/limits.ts";
import { duration, expectType, message, text } from "./checks.ts";

/** What an operation calls, by its field number in StateOp less FIRST_CALL; answers have the same order. */
const CALLS = ["get", "write", "transact"] as const;
const FIRST_CALL = 4;
const FIRST_ANSWER = 2;
const ERROR = FIRST_ANSWER + CALLS.length;
const TRACEPARENT_MAX = 64;

/** Which method an operation calls. */
export type StateCall = (typeof CALLS)[number];

/** An operation on state as it came. */
export interface StateOp {
  readonly number: number;
  readonly timeoutMs: number;
  readonly traceparent: string;
  readonly call: StateCall;
  readonly request: Buffer;
}

/** Reads a StateOp. Errors: WireError. */
export function readStateOp(reader: WireReader): StateOp {
  let number = 0;
  let timeoutMs = STATE_OP_TIMEOUT_DEFAULT_MS;
  let traceparent = "";
  let asked: Pick<StateOp, "call" | "request"> | undefined;
  message(reader, (inner) => {
    const call = CALLS[inner.field - FIRST_CALL];
    if (inner.field === 1) number = uint32(inner);
    else if (inner.field === 2) timeoutMs = duration(inner, "timeout", 1, STATE_OP_TIMEOUT_MAX_MS);
    else if (inner.field === 3) {
      traceparent = text(inner, "traceparent", TRACEPARENT_MAX).toString();
    } else if (call !== undefined) {
      expectType(inner, LENGTH);
      asked = { call, request: inner.bytes() };
    } else inner.skip();
  });
  if (number === 0) throw new WireError("state_ops.number must be at least 1");
  if (asked === undefined) throw new WireError("state_ops.call must be set");
  return { number, timeoutMs, traceparent, ...asked };
}

function uint32(reader: WireReader): number {
  expectType(reader, VARINT);
  return Number(BigInt.asUintN(32, reader.int64()));
}

/** Only used within one turn. */
const writer = new WireWriter();

/** Writes the answer of a method. */
export function writeAnswer({ number, call }: StateOp, answer: Uint8Array): Buffer {
  return write(number, FIRST_ANSWER + CALLS.indexOf(call), answer);
}

/** Writes why there is none. */
export function writeFailure({ number }: StateOp, error: NexusError, service: string): Buffer {
  return write(number, ERROR, encodeStatus(error, service));
}

function write(number: number, field: number, content: Uint8Array): Buffer {
  writer.uint(1, number);
  writer.bytes(field, content);
  return writer.take();
}
