import type { Principal } from "@nexus/rpc";
import type { Namespace } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import type { RevocationEntry } from "./revocation-set.ts";
import { createRevocationSet } from "./revocation-set.ts";

const PRINCIPAL: Principal = {
  namespace: "default" as Namespace,
  principalId: "ann",
  kind: "user",
  scopes: [],
  roles: ["ops", "on-call"],
  tokenId: "tok_1",
  familyId: "fam_1",
  issuedAtMs: 1000,
  expiresAtMs: 100_000,
};

function entry(over: Partial<RevocationEntry>): RevocationEntry {
  return {
    target: "token",
    namespace: "default",
    id: "tok_1",
    revokeTimeMs: 1000,
    expireTimeMs: 100_000,
    ...over,
  };
}

function check(over: Partial<RevocationEntry>, covered: boolean): void {
  const set = createRevocationSet();
  set.add([entry(over)]);
  expect(set.covers(PRINCIPAL), JSON.stringify(over)).toBe(covered);
}

describe("createRevocationSet", () => {
  it("covers by token and family, and with time by principal, role and namespace, inside the namespace only", () => {
    check({}, true);
    check({ id: "tok_2" }, false);
    check({ namespace: "other" }, false);
    check({ target: "family", id: "fam_1" }, true);
    check({ target: "family", id: "fam_1", namespace: "other" }, false);
    check({ target: "principal", id: "ann" }, true);
    check({ target: "principal", id: "ann", revokeTimeMs: 999 }, false);
    check({ target: "principal", id: "ann", namespace: "other" }, false);
    check({ target: "principal", id: "fam_1" }, false);
    check({ target: "role", id: "on-call" }, true);
    check({ target: "role", id: "on-call", revokeTimeMs: 999 }, false);
    check({ target: "role", id: "on-call", namespace: "other" }, false);
    check({ target: "role", id: "audit" }, false);
    check({ target: "namespace", id: "default" }, true);
    check({ target: "namespace", id: "default", revokeTimeMs: 999 }, false);
    check({ target: "namespace", id: "other", namespace: "other" }, false);
  });

  it("keeps the later of two revocations of one principal", () => {
    const set = createRevocationSet();
    set.add([entry({ target: "principal", id: "ann", revokeTimeMs: 2000 })]);
    set.add([entry({ target: "principal", id: "ann", revokeTimeMs: 500 })]);
    expect(set.covers(PRINCIPAL)).toBe(true);
  });

  it("tells a listener once, and not after it left", () => {
    const set = createRevocationSet();
    let told = 0;
    set.onRevoked(PRINCIPAL, () => told++);
    set.onRevoked(PRINCIPAL, () => told++)();
    set.add([entry({ target: "principal", id: "ann", revokeTimeMs: 1 })]);
    expect(told).toBe(0);
    set.add([entry({}), entry({ target: "family", id: "fam_1" })]);
    expect(told).toBe(1);
  });

  it("tells a listener of a revocation that came just before it", async () => {
    const set = createRevocationSet();
    set.add([entry({})]);
    let told = 0;
    set.onRevoked(PRINCIPAL, () => told++);
    await Promise.resolve();
    expect(told).toBe(1);
  });

  it("forgets entries whose tokens have ended beyond the skew", () => {
    const set = createRevocationSet();
    set.add([entry({}), entry({ id: "tok_2", expireTimeMs: 200_000 })]);
    set.prune(104_000);
    expect(set.size).toBe(2);
    set.prune(105_001);
    expect(set.size).toBe(1);
  });
});
