import { describe, expect, it } from "vitest";
import { inOrder } from "./two-parts.ts";

const isEven = (item: number) => item % 2 === 0;

describe("inOrder", () => {
  it("puts the answers to both parts into the order of the whole", () => {
    expect(inOrder([1, 2, 3, 4, 6], isEven, ["b", "d", "e"], ["a", "c"])).toEqual([
      "a",
      "b",
      "c",
      "d",
      "e",
    ]);
  });

  it("keeps the answers where there is one part only", () => {
    expect(inOrder([2, 4], isEven, ["a", "b"], [])).toEqual(["a", "b"]);
    expect(inOrder([1, 3], isEven, [], ["a", "b"])).toEqual(["a", "b"]);
  });
});
