import { describe, expect, it } from "vitest";
import { findNul } from "./storable.ts";

const CASES: readonly [unknown, string | undefined][] = [
  ["fine", undefined],
  ["a\u0000", ""],
  [{ objective: "a\u0000" }, "objective"],
  [{ tasks: [{ key: "a" }, { key: "b\u0000" }] }, "tasks[1].key"],
  [{ labels: { "k\u0000": "v" } }, "labels"],
  [{ data: new Uint8Array([0, 0]) }, undefined],
  [{ text: "\\u0000", none: undefined, nil: null, n: 0 }, undefined],
];

describe("findNul", () => {
  for (const [value, expected] of CASES) {
    it(`finds ${expected ?? "nothing"} in ${JSON.stringify(value)}`, () => {
      expect(findNul(value)).toBe(expected);
    });
  }
});
