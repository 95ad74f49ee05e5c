import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { BatchGetEntriesRequestSchema, ConnectRequestSchema } from "@nexus/proto/mesh";
import { describe, expect, it } from "vitest";
import { readAgentFrame } from "./agent-frame.ts";

const nowMs = () => 1_000;

function encode(init: MessageInitShape<typeof ConnectRequestSchema>): { bytes: Buffer } {
  return { bytes: Buffer.from(toBinary(ConnectRequestSchema, create(ConnectRequestSchema, init))) };
}

/** Plain bytes, which compare equal to what a test wrote; a Buffer does not. */
function copy(bytes: Uint8Array | undefined): Uint8Array {
  return Uint8Array.from(bytes ?? []);
}

describe("readAgentFrame, of state operations", () => {
  it("reads a state operation, and leaves its request to whoever serves it", () => {
    const value = { bucket: "not a bucket", keys: ["k"] };
    const { bytes } = encode({
      stateOps: [{ number: 7, timeout: durationFromMs(250), call: { case: "get", value } }],
    });
    const [op] = readAgentFrame(bytes, nowMs).stateOps;
    expect(op).toMatchObject({ number: 7, timeoutMs: 250, traceparent: "", call: "get" });
    expect(fromBinary(BatchGetEntriesRequestSchema, copy(op?.request))).toMatchObject(value);
  });

  it("reads an operation that calls what it does not know, and copies a small request out of a large frame", () => {
    const value = { bucket: "b", keys: ["k"] };
    const payload = { data: new Uint8Array(10_000) };
    const { bytes } = encode({
      sends: [{ messageId: "m", payload }],
      stateOps: [{ number: 7, call: { case: "get", value } }, { number: 8 }],
    });
    const [known, unknown] = readAgentFrame(bytes, nowMs).stateOps;
    expect(unknown).toMatchObject({ number: 8, call: undefined });
    expect(known?.request.buffer.byteLength).toBeLessThan(bytes.length / 4);
  });

  it("reads which operations are cancelled, packed and one by one", () => {
    const { bytes } = encode({ stateCancels: [1, 2 ** 32 - 1] });
    const single = Buffer.from([13 << 3, 9]);
    expect(readAgentFrame(Buffer.concat([bytes, single]), nowMs).stateCancels).toEqual([
      1,
      2 ** 32 - 1,
      9,
    ]);
    expect(() => readAgentFrame(bytes.subarray(0, -1), nowMs)).toThrow("cut off");
  });
});
