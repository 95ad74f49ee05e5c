import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type PackedAttempt, packAttempts, unpackAttempts } from "./attempt-pack.ts";

const text = fc.string({ unit: "grapheme", maxLength: 40 });
const durationUs = fc.option(fc.nat({ max: 2 ** 31 - 1 }), { nil: undefined });
const attempt: fc.Arbitrary<PackedAttempt> = fc.record({
  endMs: fc.nat({ max: 59_999 }),
  kind: fc.record({ agentId: text, capability: text, success: fc.boolean(), reason: text }),
  queueUs: durationUs,
  runUs: durationUs,
});

describe("packAttempts", () => {
  it("keeps everything that unpackAttempts reads", () => {
    fc.assert(
      fc.property(fc.array(attempt, { maxLength: 50 }), (attempts) => {
        expect(unpackAttempts(packAttempts(attempts))).toEqual(attempts);
      }),
    );
  });

  it("keeps durations of years and of no length, apart from none", () => {
    const [none, zero, years] = [undefined, 0, 3e14].map((us) => {
      const kind = { agentId: "a", capability: "c", success: false, reason: "LOST" };
      return { kind, endMs: 0, queueUs: us, runUs: us };
    });
    const attempts = [none!, zero!, years!];
    expect(unpackAttempts(packAttempts(attempts))).toEqual(attempts);
  });

  it("takes some dozen bytes an attempt, however long the names are", () => {
    const name = "n".repeat(128);
    const kind = { agentId: name, capability: name, success: true, reason: "" };
    const one = { endMs: 31_234, kind };
    const attempts = Array.from({ length: 100 }, () => ({ ...one, queueUs: 12_345, runUs: 9_876 }));
    expect(packAttempts(attempts).length).toBeLessThan(100 * 14 + 200);
  });

  it("are of the same kind as others of the same agent, capability and end", () => {
    const kindOf = (agentId: string, reason: string) => {
      return { agentId, capability: "c", success: reason === "", reason };
    };
    const kinds = [
      ["a", ""],
      ["b", ""],
      ["a", "LOST"],
      ["a", ""],
    ].map(([agentId, reason]) => kindOf(agentId!, reason!));
    const attempts = kinds.map((kind) => ({ kind, endMs: 1, queueUs: 2, runUs: 3 }));
    const unpacked = unpackAttempts(packAttempts(attempts)).map(({ kind }) => kind);
    expect(unpacked).toEqual(kinds);
    expect(unpacked[3]).toBe(unpacked[0]);
    expect(new Set(unpacked).size).toBe(3);
  });

  it.each([
    ["nothing", Buffer.alloc(0)],
    ["another version", Buffer.from([2, 0])],
    ["a text that is cut off", Buffer.from([1, 1, 5, 65])],
    ["a text that is not there", Buffer.from([1, 0, 7, 0, 0, 0, 0, 0, 0])],
    [
      "a text behind the last",
      Buffer.from([1, 1, 1, 65, 7, 0, 0, 0, 1, 0, 0, 7, 0, 1, 0, 1, 0, 0]),
    ],
    ["an attempt that is cut off", Buffer.from([1, 1, 1, 65, 7, 0])],
  ])("refuses %s", (_name, bytes) => {
    expect(() => unpackAttempts(bytes)).toThrow(RangeError);
  });
});
