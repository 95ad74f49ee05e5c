import type { Principal } from "@nexus/rpc";
import type { Namespace } from "@nexus/shared";
import { generateKeyPair, jwtVerify } from "jose";
import { describe, expect, it } from "vitest";
import { clockAtNow, NOW_MS } from "../test/_helpers.ts";
import { createRevocationSet } from "./revocation-set.ts";
import { generateSigningJwks, importSigningJwk, signAccessToken } from "./token-signer.ts";
import { createLocalTokenVerifier } from "./token-verifier.ts";

const PRINCIPAL: Principal = {
  namespace: "team-b" as Namespace,
  principalId: "ann",
  kind: "user",
  scopes: ["orchestrator:job:submit", "registry:*:read"],
  tokenId: "tok_1",
  familyId: "fam_1",
  issuedAtMs: NOW_MS + 7,
  expiresAtMs: NOW_MS + 3_600_007,
};

describe("signAccessToken", () => {
  it("makes tokens that the verifier turns back into the same principal", async () => {
    const { publicJwk, privateJwk } = await generateSigningJwks("k1");
    const publicKey = await importSigningJwk(publicJwk);
    const privateKey = await importSigningJwk(privateJwk);
    expect(privateKey.extractable).toBe(false);
    const verifier = createLocalTokenVerifier({
      keys: { find: async () => publicKey, epoch: 0 },
      revocations: createRevocationSet(),
      clock: clockAtNow(),
    });
    const token = await signAccessToken(PRINCIPAL, { kid: "k1", privateKey });
    expect(await verifier.verify(token)).toEqual(PRINCIPAL);
    const lists = { roles: ["ops", "on-call"], deniedScopes: ["a:*:c"], limitedScopes: ["a:b:d"] };
    const limited = { ...PRINCIPAL, ...lists, scopes: [] };
    const second = await signAccessToken(limited, { kid: "k1", privateKey });
    expect(await verifier.verify(second)).toEqual(limited);
  });

  it("writes what any other implementation verifies, with these claims and no others", async () => {
    const { publicJwk, privateJwk } = await generateSigningJwks("k1");
    const privateKey = await importSigningJwk(privateJwk);
    const principal = { ...PRINCIPAL, principalId: 'Jürgen "😀"', issuedAtMs: 1_700_000_000_123 };
    const token = await signAccessToken(principal, { kid: "k1", privateKey });
    const options = { currentDate: new Date(NOW_MS), clockTolerance: "10 years" };
    const { payload, protectedHeader } = await jwtVerify(token, publicJwk, options);
    expect(protectedHeader).toEqual({ alg: "EdDSA", typ: "at+jwt", kid: "k1" });
    expect(payload).toEqual({
      iss: "nexus-vault",
      aud: "nexus",
      sub: principal.principalId,
      jti: "tok_1",
      fam: "fam_1",
      kind: "user",
      ns: "team-b",
      scope: "orchestrator:job:submit registry:*:read",
      iat: 1_700_000_000.123,
      exp: principal.expiresAtMs / 1000,
    });
  });

  it("signs with no key of another kind, nor with a public one", async () => {
    const { publicJwk } = await generateSigningJwks("k1");
    const { privateKey } = await generateKeyPair("ES256");
    for (const key of [privateKey, await importSigningJwk(publicJwk)]) {
      await expect(signAccessToken(PRINCIPAL, { kid: "k1", privateKey: key })).rejects.toThrow(
        TypeError,
      );
    }
  });

  it("keeps the private part out of the public JWK", async () => {
    const { publicJwk } = await generateSigningJwks("k1");
    expect(publicJwk).toMatchObject({ kty: "OKP", crv: "Ed25519", kid: "k1", alg: "EdDSA" });
    expect(publicJwk.d).toBeUndefined();
  });
});
