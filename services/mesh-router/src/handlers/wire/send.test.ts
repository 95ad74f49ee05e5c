import { create, toBinary } from "@bufbuild/protobuf";
import { ConnectRequestSchema } from "@nexus/proto/mesh";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readAgentFrame } from "./agent-frame.ts";

const nowMs = () => 0;

/** A length-delimited field by hand. */
const field = (number: number, value: string | Buffer) => {
  const bytes = Buffer.from(value as string);
  return Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
};

const read = (bytes: Uint8Array) =>
  readAgentFrame(Buffer.from(bytes), nowMs).sends.map(({ toAgentId, subject }) => ({
    toAgentId,
    subject: Buffer.from(subject).toString(),
  }));

describe("the messages of a frame", () => {
  it("have each their own receiver and subject, however like the one before", () => {
    const one = fc.record({
      messageId: fc.constantFrom("m1", "m2"),
      toAgentId: fc.constantFrom("", "bob", "bo", "eve"),
      subject: fc.constantFrom("", "bob", "x", "xy", "\u00fc"),
    });
    fc.assert(
      fc.property(fc.array(one, { minLength: 2, maxLength: 5 }), (sends) => {
        const frame = create(ConnectRequestSchema, { sends });
        const expected = sends.map(({ toAgentId, subject }) => ({ toAgentId, subject }));
        expect(read(toBinary(ConnectRequestSchema, frame))).toEqual(expected);
      }),
    );
  });

  it("have none where it is given as nothing, and the last of two", () => {
    const id = field(1, "m");
    const full = field(5, Buffer.concat([id, field(2, "bob"), field(4, "x")]));
    const empty = field(5, Buffer.concat([id, field(2, ""), field(4, "")]));
    const twice = field(5, Buffer.concat([id, field(2, "bob"), field(2, "eve"), field(4, "x")]));
    expect(read(Buffer.concat([full, empty, full, twice, full]))).toEqual([
      { toAgentId: "bob", subject: "x" },
      { toAgentId: "", subject: "" },
      { toAgentId: "bob", subject: "x" },
      { toAgentId: "eve", subject: "x" },
      { toAgentId: "bob", subject: "x" },
    ]);
  });

  it("are worth delivering for 30 s, replies as long as their requests, which may be all that there is", () => {
    const timeouts = (...fields: Buffer[]): number[] => {
      const bytes = field(5, Buffer.concat([field(1, "m"), ...fields]));
      return readAgentFrame(bytes, nowMs).sends.map(({ timeoutMs }) => timeoutMs);
    };
    const second = field(7, Buffer.from([8, 1]));
    expect(timeouts(field(2, "bob"))).toEqual([30_000]);
    expect(timeouts(field(6, "d"))).toEqual([600_000]);
    expect(timeouts(field(6, "d"), second)).toEqual([1_000]);
  });

  it("begin anew in the next frame", () => {
    read(field(5, Buffer.concat([field(1, "m"), field(2, "bob"), field(4, "x")])));
    expect(read(field(5, field(1, "m")))).toEqual([{ toAgentId: "", subject: "" }]);
  });
});
