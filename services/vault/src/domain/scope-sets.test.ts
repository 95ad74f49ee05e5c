import type { Namespace } from "@nexus/shared";
import { matchesScope, parseScope } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { DEFAULT_SCOPES, grantableScopes, SCOPE_LENGTH_MAX, SERVICE_SCOPES } from "./scope-sets.ts";

const caller = (...scopes: string[]) => ({
  namespace: "default" as Namespace,
  principalId: "ann",
  scopes,
  tokenId: "t",
  familyId: "f",
});

function reasonOf(fn: () => unknown): string {
  try {
    fn();
    return "granted";
  } catch (error) {
    return (error as { reason: string }).reason;
  }
}

describe("grantableScopes", () => {
  it("lets nobody grant more than its own token covers", () => {
    const check = (held: string, wanted: string, outcome: string) =>
      expect(
        reasonOf(() => grantableScopes(caller(held), [wanted], [])),
        `${held} -> ${wanted}`,
      ).toBe(outcome);
    check("*", "*", "granted");
    check("*", "a:b:c", "granted");
    check("a:*:c", "a:b:c", "granted");
    check("a:*:c", "a:*:c", "granted");
    check("a:b:c", "a:*:c", "SCOPE_ESCALATION");
    check("a:*:*", "*", "SCOPE_ESCALATION");
    check("a:b:c", "a:b:d", "SCOPE_ESCALATION");
    check("*", "a:b", "SCOPE_INVALID");
    check("*", "A:b:c", "SCOPE_INVALID");
    check("*", `a:b:${"c".repeat(SCOPE_LENGTH_MAX)}`, "REQUEST_INVALID");
  });

  it("lets nobody grant what a denial of its own touches", () => {
    const check = (denied: string, wanted: string, outcome: string) =>
      expect(
        reasonOf(() => grantableScopes(caller("*"), [wanted], [denied])),
        `${denied} -> ${wanted}`,
      ).toBe(outcome);
    check("a:b:c", "a:b:c", "SCOPE_ESCALATION");
    check("a:b:c", "a:*:c", "SCOPE_ESCALATION");
    check("a:b:c", "*", "SCOPE_ESCALATION");
    check("a:*:*", "a:b:c", "SCOPE_ESCALATION");
    check("*", "a:b:c", "SCOPE_ESCALATION");
    check("a:b:c", "a:b:d", "granted");
  });

  it("removes doubles", () => {
    expect(grantableScopes(caller("*"), ["a:b:c", "a:b:c"], [])).toEqual(["a:b:c"]);
  });
});

describe("the scope sets", () => {
  it("are well-formed and give no service or agent an administrator's rights", () => {
    const sets = [...Object.values(DEFAULT_SCOPES), ...Object.values(SERVICE_SCOPES)];
    for (const scopes of sets) {
      for (const scope of scopes) expect(parseScope(scope)).toBe(scope);
      for (const right of [
        "vault:principal:create",
        "vault:token:revoke",
        "vault:signing-key:rotate",
      ]) {
        expect(matchesScope(scopes, right)).toBe(false);
      }
    }
  });
});
