import { describe, expect, it } from "vitest";
import { HandledIds } from "./handled-ids.ts";

describe("HandledIds", () => {
  it("knows the latest ones, and forgets what came long before", () => {
    const handled = new HandledIds(100);
    for (let index = 0; index < 1_000; index += 1) {
      handled.add(`a/${index}`);
      for (const age of [0, 1, 50, 99]) {
        if (age <= index) expect(handled.has(`a/${index - age}`)).toBe(true);
      }
      if (index >= 200) expect(handled.has(`a/${index - 200}`)).toBe(false);
    }
    expect(handled.has("b/1")).toBe(false);
  });
});
