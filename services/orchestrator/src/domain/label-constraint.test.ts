import { describe, expect, it } from "vitest";
import {
  findConstraintProblem,
  type LabelComparator,
  satisfies,
  satisfiesDemands,
  shareOfWishes,
} from "./label-constraint.ts";

const LABELS = { zone: "eu", vram: "40", temp: "-1.5", note: "" };

function constraint(comparator: LabelComparator, values: string[], key = "zone", weight = 0) {
  return { key, comparator, values, weight };
}

describe("satisfies", () => {
  const cases: readonly [boolean, LabelComparator, string[], string][] = [
    [true, "EQUAL", ["eu"], "zone"],
    [false, "EQUAL", ["us"], "zone"],
    [false, "EQUAL", ["eu"], "absent"],
    [false, "NOT_EQUAL", ["eu"], "zone"],
    [true, "NOT_EQUAL", ["us"], "zone"],
    [true, "NOT_EQUAL", ["eu"], "absent"],
    [true, "IN", ["us", "eu"], "zone"],
    [false, "IN", ["us", "ap"], "zone"],
    [false, "IN", ["eu"], "absent"],
    [false, "NOT_IN", ["us", "eu"], "zone"],
    [true, "NOT_IN", ["us", "ap"], "zone"],
    [true, "NOT_IN", ["eu"], "absent"],
    [true, "EXISTS", [], "note"],
    [false, "EXISTS", [], "absent"],
    [false, "EXISTS", [], "toString"],
    [false, "NOT_EXISTS", [], "note"],
    [true, "NOT_EXISTS", [], "absent"],
    [true, "GREATER_THAN", ["39.5"], "vram"],
    [false, "GREATER_THAN", ["40"], "vram"],
    [true, "GREATER_THAN", ["9"], "vram"],
    [false, "GREATER_THAN", ["0"], "zone"],
    [false, "GREATER_THAN", ["-1"], "note"],
    [false, "GREATER_THAN", ["0"], "absent"],
    [true, "LESS_THAN", ["-1.4"], "temp"],
    [false, "LESS_THAN", ["-2"], "temp"],
    [false, "LESS_THAN", ["5"], "absent"],
  ];
  for (const [expected, comparator, values, key] of cases) {
    it(`says ${expected} for ${key} ${comparator} ${values.join(",")}`, () => {
      expect(satisfies(LABELS, constraint(comparator, values, key))).toBe(expected);
    });
  }
});

describe("satisfiesDemands", () => {
  it("holds demands against the labels and lets wishes pass", () => {
    const demand = constraint("EQUAL", ["us"]);
    expect(satisfiesDemands(LABELS, [demand])).toBe(false);
    expect(satisfiesDemands(LABELS, [{ ...demand, weight: 1 }])).toBe(true);
    expect(satisfiesDemands(LABELS, undefined)).toBe(true);
  });
});

describe("shareOfWishes", () => {
  it("weighs wishes, each preferred label as 1, and leaves demands out", () => {
    const wishes = [
      constraint("EQUAL", ["eu"], "zone", 6),
      constraint("LESS_THAN", ["10"], "vram", 2),
      constraint("EXISTS", [], "zone"),
    ];
    expect(shareOfWishes(LABELS, { zone: "us", vram: "40" }, wishes)).toBeCloseTo(7 / 10, 12);
    expect(shareOfWishes(LABELS, {}, [constraint("EXISTS", [], "zone")])).toBe(1);
    expect(shareOfWishes(LABELS, {})).toBe(1);
  });
});

describe("findConstraintProblem", () => {
  const cases: readonly [string | undefined, LabelComparator, string[]][] = [
    [undefined, "EQUAL", [""]],
    ["EQUAL takes one value, not 2", "EQUAL", ["a", "b"]],
    ["NOT_EQUAL takes one value, not 0", "NOT_EQUAL", []],
    [undefined, "IN", ["a", "b"]],
    ["NOT_IN needs a value", "NOT_IN", []],
    [undefined, "EXISTS", []],
    ["NOT_EXISTS takes no value", "NOT_EXISTS", ["a"]],
    [undefined, "LESS_THAN", ["-0.5"]],
    ['GREATER_THAN compares decimal numbers, which "1e3" is not', "GREATER_THAN", ["1e3"]],
    ['LESS_THAN compares decimal numbers, which "" is not', "LESS_THAN", [""]],
  ];
  for (const [expected, comparator, values] of cases) {
    it(`says ${expected ?? "nothing"} of ${comparator} [${values.join(", ")}]`, () => {
      expect(findConstraintProblem(constraint(comparator, values))).toBe(expected);
    });
  }
});
