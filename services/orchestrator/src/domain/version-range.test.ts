import { describe, expect, it } from "vitest";
import { firstInRange } from "./version-range.ts";

describe("firstInRange", () => {
  it("returns the first version in the range, the same each time", () => {
    const versions = ["2.1.0", "1.4.0", "1.2.0"];
    for (let i = 0; i < 2; i += 1) {
      expect(firstInRange(versions, "^1.0.0")).toBe("1.4.0");
      expect(firstInRange(versions, "^2.0.0")).toBe("2.1.0");
      expect(firstInRange(versions, "^3.0.0")).toBeUndefined();
      expect(firstInRange(versions, "")).toBe("2.1.0");
    }
  });

  it("keeps the answers of lists apart", () => {
    expect(firstInRange(["1.0.0"], "1.x")).toBe("1.0.0");
    expect(firstInRange(["1.1.0"], "1.x")).toBe("1.1.0");
    expect(firstInRange([], "1.x")).toBeUndefined();
  });

  it("finds the same however many ranges were asked for", () => {
    const versions = ["70.0.0", "1.0.0"];
    for (let i = 2; i < 200; i += 1) firstInRange(versions, `^${i}.0.0`);
    expect(firstInRange(versions, "^1.0.0")).toBe("1.0.0");
    expect(firstInRange(versions, "^70.0.0")).toBe("70.0.0");
  });
});
