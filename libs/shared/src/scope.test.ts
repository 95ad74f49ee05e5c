import { describe, expect, it } from "vitest";
import { NexusError } from "./nexus-error.ts";
import { holdsScope, matchesScope, overlapsScope, parseScope } from "./scope.ts";

describe("matchesScope", () => {
  it("covers segment by segment", () => {
    const cases: readonly [granted: string[], required: string, covered: boolean][] = [
      [["registry:agent:read"], "registry:agent:read", true],
      [["registry:agent:read"], "registry:agent:write", false],
      [["registry:agent:*"], "registry:agent:write", true],
      [["registry:*:read"], "registry:agent:read", true],
      [["registry:*:read"], "registry:agent:write", false],
      [["*:*:read"], "vault:secret:read", true],
      [["*"], "vault:secret:read", true],
      [["*:*:*"], "vault:secret:read", true],
      [["vault:*:*", "registry:agent:read"], "registry:agent:read", true],
      [[], "registry:agent:read", false],
      [["registry:agent"], "registry:agent:read", false],
      [["registry:agent:read:more"], "registry:agent:read", false],
      [["registry:ag*:read"], "registry:agent:read", false],
      [["registry:agent:read"], "registry:agent:*", false],
      [["registry:agent:*"], "registry:agent:*", true],
      [[""], "registry:agent:read", false],
      [["REGISTRY:agent:read"], "registry:agent:read", false],
    ];
    for (const [granted, required, covered] of cases) {
      expect({ granted, required, covered: matchesScope(granted, required) }).toEqual({
        granted,
        required,
        covered,
      });
    }
  });
});

describe("parseScope", () => {
  it("accepts three segments or a single star, and refuses the rest", () => {
    const good = ["*", "a:b:c", "*:b:*", "a-1:b-2:c-3"];
    expect(good.map((scope) => parseScope(scope))).toEqual(good);
    for (const scope of ["", "a", "a:b", "a:b:c:d", "A:b:c", "a:b:c ", "a::c", "**", "a:b*:c"]) {
      expect(() => parseScope(scope)).toThrow(NexusError);
    }
  });
});

describe("holdsScope", () => {
  it("lets a denial win over every grant", () => {
    const held = { scopes: ["*"], deniedScopes: ["vault:*:read"] };
    expect(holdsScope(held, "vault:secret:read")).toBe(false);
    expect(holdsScope(held, "vault:secret:write")).toBe(true);
    expect(holdsScope({ scopes: ["a:b:c"] }, "a:b:c")).toBe(true);
    expect(holdsScope({ scopes: [], deniedScopes: [] }, "a:b:c")).toBe(false);
  });
});

describe("overlapsScope", () => {
  it("says whether both patterns cover some scope", () => {
    const cases: readonly [string, string, boolean][] = [
      ["*", "a:b:c", true],
      ["a:b:c", "*", true],
      ["a:*:c", "*:b:c", true],
      ["a:*:c", "a:b:d", false],
      ["a:b:c", "a:b:c", true],
      ["a:b:*", "a:c:*", false],
    ];
    for (const [one, other, overlap] of cases) {
      expect({ one, other, overlap: overlapsScope(one, other) }).toEqual({ one, other, overlap });
    }
  });
});
