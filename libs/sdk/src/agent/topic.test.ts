import { describe, expect, it } from "vitest";
import { fitsPattern } from "./topic.ts";

describe("fitsPattern", () => {
  it.each([
    ["a.b", "a.b", true],
    ["a.b", "a", false],
    ["a", "a.b", false],
    ["a.*", "a.b", true],
    ["a.*", "a.b.c", false],
    ["*.b", "a.b", true],
    ["a.>", "a.b.c", true],
    ["a.>", "a", false],
    [">", "a", true],
  ])("%s and %s: %s", (pattern, topic, fits) => {
    expect(fitsPattern(pattern, topic)).toBe(fits);
  });
});
