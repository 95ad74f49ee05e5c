import { describe, expect, it } from "vitest";
import { bulksOf } from "./peer-commands.ts";

describe("bulksOf", () => {
  const cases: readonly (readonly [number, readonly number[]])[] = [
    [0, []],
    [7, [7]],
    [500, [500]],
    [1_200, [500, 500, 200]],
  ];
  for (const [count, sizes] of cases) {
    it(`adds ${count} jobs as ${sizes.join(" + ") || "nothing"}`, () => {
      expect(bulksOf(count)).toEqual(sizes);
    });
  }
});
