import type { Principal, TokenVerifier } from "@nexus/rpc";
import { createSilentLogger, DEFAULT_NAMESPACE, NexusError } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { createFrameIdentity } from "./frame-identity.ts";

const PRINCIPAL: Principal = {
  namespace: DEFAULT_NAMESPACE,
  principalId: "ada",
  kind: "user",
  scopes: ["*"],
  tokenId: "t",
  familyId: "f",
  issuedAtMs: 0,
  expiresAtMs: 1,
};

function verifierOf(principalId: string): TokenVerifier {
  return {
    verify: () => Promise.resolve({ ...PRINCIPAL, principalId }),
    onRevoked: (_principal, fn) => {
      fn();
      return () => {};
    },
  };
}

const logger = createSilentLogger();

describe("createFrameIdentity", () => {
  it("refuses tokens as unavailable, and is not ready, until a verifier is there", async () => {
    const identity = createFrameIdentity({ logger });
    const refused = await identity.verifier.verify("token").catch((error: unknown) => error);
    expect(NexusError.is(refused, "unavailable", "IDENTITY_UNAVAILABLE")).toBe(true);
    expect(() => identity.assertReady()).toThrow("waiting");
    identity.provide(verifierOf("ada"));
    expect((await identity.verifier.verify("token")).principalId).toBe("ada");
    expect(() => identity.assertReady()).not.toThrow();
  });

  it("hands revocations of the provided verifier on", () => {
    const identity = createFrameIdentity({ logger, verifier: verifierOf("ada") });
    let revoked = 0;
    identity.verifier.onRevoked(PRINCIPAL, () => revoked++)();
    expect(revoked).toBe(1);
  });

  it("keeps an injected verifier against a provided one", async () => {
    const identity = createFrameIdentity({ logger, verifier: verifierOf("injected") });
    identity.provide(verifierOf("provided"));
    expect((await identity.verifier.verify("token")).principalId).toBe("injected");
  });

  it("has no tokens of its own without a way to vault, and takes injected ones", async () => {
    const none = createFrameIdentity({ logger }).tokens.token();
    const error = await none.catch((thrown: unknown) => thrown);
    expect(NexusError.is(error, "precondition", "NO_SERVICE_IDENTITY")).toBe(true);
    const tokens = { token: () => Promise.resolve("mine") };
    expect(await createFrameIdentity({ logger, tokens }).tokens.token()).toBe("mine");
  });

  it("closes without a vault", async () => {
    await createFrameIdentity({ logger }).close();
  });
});
