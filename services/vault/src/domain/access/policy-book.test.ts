import type { Namespace } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import type { AccessPolicy } from "./policy.ts";
import { PolicyBook } from "./policy-book.ts";
import type { ChangedPolicies, PolicyFeed } from "./ports.ts";

const namespaceOf = (i: number) => `team-${i}` as Namespace;
const subjectIn = (i: number) => ({
  namespace: namespaceOf(i),
  principalId: "ann",
  scopes: ["vault:secret:read"],
});
const request = { action: "vault:secret:read", resource: "prod/db" };

function denying(i: number, over: Partial<AccessPolicy> = {}): AccessPolicy {
  return {
    namespace: namespaceOf(i),
    name: "no-prod",
    description: "",
    statements: [{ effect: "deny", actions: ["vault:secret:*"], resources: ["prod/*"] }],
    everyone: true,
    roles: [],
    principalIds: [],
    updatedAtMs: 0,
    ...over,
  };
}

/** A feed in memory that tells two namespaces at a time. */
function createFeed(changes: ChangedPolicies[]): PolicyFeed {
  return {
    changedAfter: async (revision) =>
      changes.filter((change) => change.revision > revision).slice(0, 2),
  };
}

describe("PolicyBook", () => {
  it("knows every policy after one reading, however many the feed tells at a time", async () => {
    const changes = [1, 2, 3, 4, 5].map((i) => ({
      namespace: namespaceOf(i),
      revision: BigInt(i),
      policies: [denying(i)],
    }));
    const book = new PolicyBook(createFeed(changes));
    await book.refresh();
    for (const i of [1, 2, 3, 4, 5]) {
      expect(book.decide(subjectIn(i), request)).toMatchObject({ reason: "denied" });
    }
    expect(book.decide(subjectIn(6), request).allowed).toBe(true);
  });

  it("decides by what it read last, also for a subject that asked before", async () => {
    const changes: ChangedPolicies[] = [];
    const book = new PolicyBook(createFeed(changes));
    const tell = async (policies: AccessPolicy[]) => {
      const revision = BigInt(changes.length + 1);
      changes.push({ namespace: namespaceOf(1), revision, policies });
      await book.refresh();
      return book.decide(subjectIn(1), request).allowed;
    };
    expect(await tell([denying(1)])).toBe(false);
    expect(await tell([denying(1, { everyone: false, principalIds: ["bob"] })])).toBe(true);
    expect(await tell([denying(1, { everyone: false, principalIds: ["ann"] })])).toBe(false);
    expect(await tell([])).toBe(true);
  });

  it("is for the roles of the token, and denies what the token denies", async () => {
    const policy = denying(1, { everyone: false, roles: ["crew"] });
    const change = { namespace: namespaceOf(1), revision: 1n, policies: [policy] };
    const book = new PolicyBook(createFeed([change]));
    await book.refresh();
    const subject = subjectIn(1);
    expect(book.decide(subject, request).allowed).toBe(true);
    expect(book.decide({ ...subject, roles: ["crew"] }, request).allowed).toBe(false);
    expect(book.decide({ ...subject, deniedScopes: ["vault:*:read"] }, request).allowed).toBe(
      false,
    );
    expect(book.deniedActions({ ...subject, roles: ["crew"] })).toEqual(["vault:secret:*"]);
  });
});
