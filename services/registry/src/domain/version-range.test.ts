import { describe, expect, it } from "vitest";
import { createVersionRangeParser } from "./version-range.ts";

describe("createVersionRangeParser", () => {
  it("parses a range once, and keeps it though others ask for a thousand new ones", () => {
    const parser = createVersionRangeParser();
    const popular = parser.parse("^1.2.0");
    expect(popular?.test("1.3.0")).toBe(true);
    parser.parse("^1.2.0");
    for (let minor = 0; minor < 2_000; minor += 1) parser.parse(`>=2.${minor}.0`);
    expect(parser.parse("^1.2.0")).toBe(popular);
  });

  it("takes nothing for any version, and refuses what is no range", () => {
    const parser = createVersionRangeParser();
    expect(parser.parse(" ")).toBeUndefined();
    expect(() => parser.parse("not a range")).toThrow(
      expect.objectContaining({ kind: "invalid", reason: "VERSION_RANGE_INVALID" }),
    );
  });
});
