import { describe, expect, it } from "vitest";
import { hashBody } from "./body-hash.ts";

function hex(value: unknown): string {
  return Buffer.from(hashBody(value)).toString("hex");
}

describe("hashBody", () => {
  it("does not depend on the order of keys", () => {
    expect(hex({ a: 1, b: { c: "x", d: [1, 2] } })).toBe(hex({ b: { d: [1, 2], c: "x" }, a: 1 }));
  });

  const different: readonly [unknown, unknown][] = [
    [{ a: 1 }, { a: 2 }],
    [{ a: "1" }, { a: 1 }],
    [["ab"], ["a", "b"]],
    [
      [1, 2],
      [2, 1],
    ],
    [{ a: undefined }, {}],
    [{ a: "b;" }, { "a;b": "" }],
    [new Uint8Array([1]), new Uint8Array([1, 0])],
    [new Uint8Array([49]), "1"],
    [{ ab: "c" }, { a: "bc" }],
  ];
  for (const [one, other] of different) {
    it(`tells ${JSON.stringify(one)} from ${JSON.stringify(other)}`, () => {
      expect(hex(one)).not.toBe(hex(other));
    });
  }
});
