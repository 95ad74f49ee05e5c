import { describe, expect, it } from "vitest";
import { firstInRange, isVersionRange } from "./version-range.ts";

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

describe("isVersionRange", () => {
  it.each(["", "^1.2.0", "1.x || >=2.0.0-rc.1", "*"])("takes %j, each time", (range) => {
    expect([isVersionRange(range), isVersionRange(range)]).toEqual([true, true]);
  });

  it.each(["one", "^", "1.2.3.4", "latest"])("refuses %j, each time", (range) => {
    expect([isVersionRange(range), isVersionRange(range)]).toEqual([false, false]);
  });

  it("knows a range that was asked for before, and nothing that only begins like it", () => {
    firstInRange(["1.0.0"], "^7.0.0");
    expect([isVersionRange("^7.0.0"), isVersionRange("^7.0.0 or so")]).toEqual([true, false]);
  });
});
