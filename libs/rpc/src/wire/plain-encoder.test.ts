import { create, type DescMessage, fromBinary, toBinary } from "@bufbuild/protobuf";
import { AttemptOutcomeSchema } from "@nexus/proto/common";
import { ConnectRequestSchema, ConnectResponseSchema } from "@nexus/proto/mesh";
import { JobSchema, ListJobsResponseSchema } from "@nexus/proto/orchestrator";
import { describe, expect, it } from "vitest";
import { tryEncodePlain } from "./plain-encoder.ts";
import { contractMessages, pickFrom, randomMessage } from "./random-message.fake.ts";

const RUNS = 60;

function expectSame(schema: DescMessage, message: object): void {
  const written = tryEncodePlain(schema, message as never);
  const generated = Buffer.from(toBinary(schema, create(schema, message as never)));
  if (written === undefined || !written.equals(generated)) expect(written).toEqual(generated);
}

/** The same without type names and without what is not set, as callers write it. */
function toInit(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(toInit);
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  const entries = Object.entries(value).filter(
    ([name, one]) => name !== "$typeName" && one !== undefined,
  );
  return Object.fromEntries(entries.map(([name, one]) => [name, toInit(one)]));
}

const plain = contractMessages().filter(
  (schema) => tryEncodePlain(schema, create(schema)) !== undefined,
);

describe("tryEncodePlain", () => {
  it("knows most messages of the contracts", () => {
    expect(plain.length).toBeGreaterThan(contractMessages().length * 0.8);
    for (const schema of [ConnectRequestSchema, ConnectResponseSchema, ListJobsResponseSchema]) {
      expect(plain).toContain(schema);
    }
  });

  it.each(plain.map((schema) => [schema.typeName, schema] as const))(
    "writes the bytes that the generated code writes of %s",
    (_name, schema) => {
      for (let seed = 0; seed < RUNS; seed += 1) {
        const message = randomMessage(schema, pickFrom(seed));
        expectSame(schema, message);
        expectSame(schema, toInit(message) as object);
      }
    },
  );

  it("writes nested messages whose lengths take more and fewer bytes than the last one's", () => {
    for (const size of [0, 1, 100, 127, 128, 20_000, 3, 2_200_000, 5]) {
      const payload = { contentType: "x", data: Buffer.alloc(size, 7) };
      expectSame(ConnectRequestSchema, { sends: [{ messageId: "a", payload }, { payload }] });
    }
  });

  it("leaves out what is null, and keeps a chosen field that is zero", () => {
    expectSame(ConnectRequestSchema, { sends: null, taskUpdates: [{ taskId: null, fence: 1n }] });
    expectSame(ConnectRequestSchema, {
      taskUpdates: [{ taskId: "t", update: { case: "accepted", value: {} } }],
    });
    expectSame(JobSchema, { results: { "": { contentType: "x" }, a: {} } });
  });

  it("writes equal maps alike, whatever the order of their keys", () => {
    const one = { labels: { b: "2", a: "1", "10": "x", "9": "y" } };
    const other = { labels: { "9": "y", a: "1", "10": "x", b: "2" } };
    const bytes = tryEncodePlain(JobSchema, one) as Buffer;
    expect(tryEncodePlain(JobSchema, other)).toEqual(bytes);
    expect(fromBinary(JobSchema, bytes).labels).toEqual(one.labels);
    expect(tryEncodePlain(JobSchema, { labels: { a: "2", b: "1" } })).not.toEqual(bytes);
  });

  it("writes texts that are not well formed as the generated code does", () => {
    expectSame(AttemptOutcomeSchema, { agentId: "\ud800", capability: "ä\udc00😀" });
  });

  it("leaves a message with fields that nobody knows to the generated code", () => {
    const bytes = new Uint8Array([0xc2, 0xb8, 0x02, 1, 65]);
    const message = fromBinary(AttemptOutcomeSchema, bytes);
    expect(tryEncodePlain(AttemptOutcomeSchema, message)).toBeUndefined();
  });

  it("refuses numbers that a field does not hold, and writes the next message whole", () => {
    const credit = (slots: number) => ({ credit: { slots } });
    for (const wrong of [1.5, 2 ** 31, Number.NaN]) {
      expect(() => tryEncodePlain(ConnectRequestSchema, credit(wrong))).toThrow(TypeError);
    }
    const big = { taskUpdates: [{ fence: 2n ** 63n }] };
    expect(() => tryEncodePlain(ConnectRequestSchema, big)).toThrow(TypeError);
    expectSame(ConnectRequestSchema, credit(3));
  });
});
