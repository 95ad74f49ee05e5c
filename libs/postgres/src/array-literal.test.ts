import { describe, expect, it } from "vitest";
import { tryArrayLiteral } from "./array-literal.ts";

describe("tryArrayLiteral", () => {
  const cases: [unknown[], string][] = [
    [[], "{}"],
    [["a", "b c", ""], '{"a","b c",""}'],
    [['say "hi"', "back\\slash"], '{"say \\"hi\\"","back\\\\slash"}'],
    [[null, "NULL"], '{NULL,"NULL"}'],
    [[1, -2.5, 9_007_199_254_740_993n], "{1,-2.5,9007199254740993}"],
    [[true, false], "{true,false}"],
    [["{,}"], '{"{,}"}'],
  ];
  for (const [values, literal] of cases) {
    it(`writes ${literal}`, () => {
      expect(tryArrayLiteral(values)).toBe(literal);
    });
  }

  it("leaves everything that is not plain to the driver", () => {
    for (const value of [new Date(0), Buffer.from("a"), ["nested"], undefined, {}]) {
      expect(tryArrayLiteral(["a", value])).toBeUndefined();
    }
  });
});
