import { describe, expect, it } from "vitest";
import { NexusError } from "./nexus-error.ts";
import {
  compileResourcePattern,
  isResource,
  parseResourcePattern,
  RESOURCE_LENGTH_MAX,
} from "./resource.ts";

describe("isResource", () => {
  it("accepts one form only", () => {
    const good = ["a", "prod/db", "prod/db/password", "tëam", "a b", "...", "a..b"];
    expect(good.filter((text) => !isResource(text))).toEqual([]);
    const bad = [
      "",
      "/",
      "/a",
      "a/",
      "a//b",
      ".",
      "..",
      "a/../b",
      "a/./b",
      "../a",
      "a/..",
      "a*",
      "*",
      "a\\..\\b",
      "a\u0000b",
      "a\nb",
      "e\u0301",
      "\ud800",
      "x".repeat(RESOURCE_LENGTH_MAX + 1),
    ];
    expect(bad.filter(isResource)).toEqual([]);
  });
});

describe("parseResourcePattern", () => {
  it("accepts stars for whole segments and at the end, and refuses the rest", () => {
    const good = ["*", "a", "a/b", "a/*", "a*", "team-*", "*/b", "a/*/c", "*/*", "a/*/c-*"];
    expect(good.map(parseResourcePattern)).toEqual(good);
    const bad = ["", "a/", "/a", "a**", "**", "a*b", "*a", "a/b*/c", "a/../*", "../*", "e\u0301*"];
    for (const pattern of bad) {
      expect(() => parseResourcePattern(pattern), pattern).toThrow(NexusError);
    }
  });
});

describe("compileResourcePattern", () => {
  it("matches as the pattern says", () => {
    const cases: readonly [pattern: string, resource: string, matches: boolean][] = [
      ["*", "a/b/c", true],
      ["prod", "prod", true],
      ["prod", "prod/db", false],
      ["prod/*", "prod/db", true],
      ["prod/*", "prod/db/password", true],
      ["prod/*", "prod", false],
      ["prod/*", "production/db", false],
      ["prod*", "prod", true],
      ["prod*", "production/db", true],
      ["PROD/*", "prod/db", false],
      ["*/db", "prod/db", true],
      ["*/db", "prod/x/db", false],
      ["*/db/*", "prod/db/password", true],
      ["*/db/*", "prod/db", false],
      ["a/*/c", "a/b/c", true],
      ["a/*/c", "a/b/b/c", false],
      ["a/*/c-*", "a/b/c-1/d", true],
      ["a/*/c-*", "a/b/d-1", false],
      ["*/*", "a", false],
      ["*/*", "a/b/c", true],
      ["a.c", "abc", false],
    ];
    for (const [pattern, resource, matches] of cases) {
      const matched = compileResourcePattern(parseResourcePattern(pattern))(resource);
      expect({ pattern, resource, matched }).toEqual({ pattern, resource, matched: matches });
    }
  });
});
