import { describe, expect, it } from "vitest";
import { createTestIdentity } from "./test-identity.ts";

describe("createTestIdentity", () => {
  it("verifies its own tokens with the principal that was asked for", async () => {
    const identity = createTestIdentity();
    const token = await identity.token({ sub: "agent-7", kind: "agent", scopes: ["mesh:*:*"] });
    await expect(identity.verifier.verify(token)).resolves.toMatchObject({
      principalId: "agent-7",
      kind: "agent",
      namespace: "default",
      scopes: ["mesh:*:*"],
    });
  });

  it("refuses the token of another identity", async () => {
    const token = await createTestIdentity().token({ sub: "mallory" });
    await expect(createTestIdentity().verifier.verify(token)).rejects.toMatchObject({
      reason: "TOKEN_INVALID",
    });
  });

  it("refuses a token that has ended", async () => {
    const identity = createTestIdentity();
    const token = await identity.token({ sub: "late", ttlMs: -60_000 });
    await expect(identity.verifier.verify(token)).rejects.toMatchObject({
      reason: "TOKEN_EXPIRED",
    });
  });

  it("refuses a revoked token at once and tells its listeners", async () => {
    const identity = createTestIdentity();
    const token = await identity.token({ sub: "user-1" });
    const principal = await identity.verifier.verify(token);
    let told = false;
    identity.verifier.onRevoked(principal, () => {
      told = true;
    });
    identity.revoke(principal.tokenId);
    await expect(identity.verifier.verify(token)).rejects.toMatchObject({
      reason: "TOKEN_REVOKED",
    });
    expect(told).toBe(true);
  });
});
