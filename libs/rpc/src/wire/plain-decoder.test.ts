import { isDeepStrictEqual } from "node:util";
import { create, type DescMessage, fromBinary, toBinary } from "@bufbuild/protobuf";
import { AttemptOutcomeSchema } from "@nexus/proto/common";
import { ConnectResponseSchema } from "@nexus/proto/mesh";
import { JobSchema, ListJobsResponseSchema } from "@nexus/proto/orchestrator";
import { ReportOutcomesRequestSchema } from "@nexus/proto/registry";
import { describe, expect, it } from "vitest";
import { tryDecodePlain } from "./plain-decoder.ts";
import { contractMessages, pickFrom, randomMessage } from "./random-message.fake.ts";
import { WireError } from "./wire-reader.ts";

const RUNS = 60;

function expectSame(schema: DescMessage, bytes: Buffer): void {
  const decoded = tryDecodePlain(schema, bytes);
  const generated = fromBinary(schema, bytes, { readUnknownFields: false });
  // A field that is not set may be there or not. The comparison that explains itself is slow, so it sees only what differs.
  if (!isDeepStrictEqual(withoutUnset(decoded), generated)) expect(decoded).toEqual(generated);
}

function withoutUnset(value: unknown): unknown {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  for (const [name, member] of Object.entries(value)) {
    if (member === undefined) Reflect.deleteProperty(value, name);
    else withoutUnset(member);
  }
  return value;
}

const plain = contractMessages().filter(
  (schema) => tryDecodePlain(schema, Buffer.alloc(0)) !== undefined,
);

describe("tryDecodePlain", () => {
  it("knows most messages of the contracts", () => {
    expect(plain.length).toBeGreaterThan(contractMessages().length * 0.8);
    expect(plain).toContain(ReportOutcomesRequestSchema);
    // What an agent gets, and what a reader of jobs does: both have maps of messages.
    expect(plain).toContain(ConnectResponseSchema);
    expect(plain).toContain(ListJobsResponseSchema);
  });

  it.each(plain.map((schema) => [schema.typeName, schema] as const))(
    "makes what the generated code makes of %s",
    (_name, schema) => {
      for (let seed = 0; seed < RUNS; seed += 1) {
        const pick = pickFrom(seed);
        const one = Buffer.from(toBinary(schema, randomMessage(schema, pick)));
        const two = Buffer.from(toBinary(schema, randomMessage(schema, pick)));
        expectSame(schema, one);
        // Encoded messages that follow each other are merged.
        expectSame(schema, Buffer.concat([one, two]));
        // A field nobody knows: number 5000, a text.
        expectSame(schema, Buffer.concat([one, Buffer.from([0xc2, 0xb8, 0x02, 1, 65]), two]));
      }
    },
  );

  it("keeps an entry of a map whatever its key", () => {
    const entry = (key: string) => [
      0x5a,
      key.length + 6,
      0x0a,
      key.length,
      ...Buffer.from(key),
      0x12,
      2,
      0x0a,
      0,
    ];
    const bytes = Buffer.from([...entry("__proto__"), ...entry("a")]);
    const results = tryDecodePlain(JobSchema, bytes)?.results ?? {};
    expect(Object.keys(results)).toEqual(["__proto__", "a"]);
    expect(Object.getPrototypeOf(results)).toBe(Object.prototype);
  });

  it("makes messages that share nothing", () => {
    const bytes = Buffer.from(
      toBinary(ReportOutcomesRequestSchema, create(ReportOutcomesRequestSchema)),
    );
    const one = tryDecodePlain(ReportOutcomesRequestSchema, bytes);
    one?.groups.push(...[{} as never]);
    expect(tryDecodePlain(ReportOutcomesRequestSchema, bytes)?.groups).toEqual([]);
  });

  it("reads each item of a list by itself, however much it is like the one before", () => {
    const texts = ["abc", "abd", "abd", "bbd", "", "abd", "\u00e4b", "\u00e4b", "\u00f6b", "abdc"];
    const assignments = texts.flatMap((text) =>
      texts.map((other) => ({
        taskId: text,
        taskKey: other,
        capability: "same",
        input: other === "" ? undefined : { contentType: text, data: Buffer.from(other) },
      })),
    );
    const frame = create(ConnectResponseSchema, { assignments });
    expectSame(ConnectResponseSchema, Buffer.from(toBinary(ConnectResponseSchema, frame)));
  });

  it("makes the same of a type however often it comes", () => {
    const frame = create(ConnectResponseSchema, {
      assignments: Array.from({ length: 1_200 }, (_, index) => ({
        taskId: `t${index}`,
        upstream: { [`input-${index}`]: { contentType: "text/plain" } },
      })),
    });
    expectSame(ConnectResponseSchema, Buffer.from(toBinary(ConnectResponseSchema, frame)));
  });

  it.each([
    ["a text that is cut off", [0x0a, 5, 65]],
    ["a text that is not UTF-8", [0x0a, 2, 0xff, 0xfe]],
    ["a number where a text belongs", [0x08, 1]],
    ["a message that is cut off", [0x52, 9, 8]],
    ["a number without an end", [0x20, 0x80, 0x80]],
    ["a field without a number", [0x02, 0]],
  ])("refuses %s", (_name, bytes) => {
    expect(() => tryDecodePlain(AttemptOutcomeSchema, Buffer.from(bytes))).toThrow(WireError);
  });

  it("throws for no bytes at all but what is malformed", () => {
    for (let seed = 0; seed < 300; seed += 1) {
      const pick = pickFrom(seed);
      const bytes = Buffer.from(
        toBinary(ReportOutcomesRequestSchema, randomMessage(ReportOutcomesRequestSchema, pick)),
      );
      const cut = bytes.subarray(0, pick(bytes.length + 1));
      try {
        tryDecodePlain(ReportOutcomesRequestSchema, cut);
      } catch (error) {
        expect(error).toBeInstanceOf(WireError);
      }
    }
  });
});
