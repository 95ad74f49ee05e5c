import { generateSigningJwks, importSigningJwk, signAccessToken } from "@nexus/identity";
import type { IntrospectTokenResponse } from "@nexus/proto/vault";
import { PrincipalKind, TokenUse } from "@nexus/proto/vault";
import type { Namespace } from "@nexus/shared";
import { decodeJwt, decodeProtectedHeader } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deny, putPolicy, putRole } from "./_access.ts";
import {
  createAgent,
  createFleet,
  createUser,
  type Fleet,
  grant,
  login,
  outcome,
  type Replica,
  requestId,
  type Session,
} from "./_helpers.ts";

let fleet: Fleet;
let vault: Replica;
let other: Replica;
let admin: Session;

beforeAll(async () => {
  fleet = await createFleet();
  vault = await fleet.start();
  other = await fleet.start();
  admin = await login(vault);
});

afterAll(async () => {
  await fleet.close();
});

function introspect(token: string, replica = vault): Promise<IntrospectTokenResponse> {
  return replica.auth.introspectToken({ token }, admin);
}

/** Nothing but `active: false`. */
async function saysNothing(token: string, replica = vault): Promise<void> {
  const answer = await introspect(token, replica);
  expect(answer).toMatchObject({
    active: false,
    tokenUse: TokenUse.UNSPECIFIED,
    deniedScopes: [],
    limitedScopes: [],
    tokenId: "",
    familyId: "",
  });
  expect([answer.principal, answer.issueTime, answer.expireTime]).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
}

describe("IntrospectToken", () => {
  it("says what a good access token says", async () => {
    await putRole(vault, admin, "seen", ["a:b:c"]);
    const { principalId, clientSecret } = await createAgent(vault, admin, { roles: ["seen"] });
    const statements = [deny(["x:y:z"])];
    await putPolicy(vault, admin, { name: "seen", statements, principalIds: [principalId] });
    const { token } = await grant(vault, principalId, clientSecret);
    const claims = decodeJwt(token);
    const answer = await introspect(token, other);
    expect(answer).toMatchObject({
      active: true,
      tokenUse: TokenUse.ACCESS,
      principal: {
        namespace: "default",
        principalId,
        kind: PrincipalKind.AGENT,
        scopes: ["a:b:c"],
        roles: ["seen"],
      },
      deniedScopes: ["x:y:z"],
      tokenId: claims.jti,
      familyId: claims["fam"],
    });
    expect(Number(answer.expireTime?.seconds) - Number(answer.issueTime?.seconds)).toBe(3600);
  });

  it("says what a live refresh token is for, and nothing once it was spent", async () => {
    const agent = await createAgent(vault, admin);
    const answer = await introspect(agent.refreshToken);
    expect(answer).toMatchObject({
      active: true,
      tokenUse: TokenUse.REFRESH,
      principal: { principalId: agent.principalId },
      familyId: decodeJwt(agent.token)["fam"],
    });
    const { refreshToken } = agent;
    const { tokens } = await vault.auth.refreshToken({ refreshToken });
    await saysNothing(refreshToken);
    expect((await introspect(tokens?.refreshToken ?? "")).active).toBe(true);
  });

  it("says nothing but no for whatever is not good, and never why", async () => {
    const revoked = await createAgent(vault, admin);
    await vault.auth.logout({}, revoked);
    const disabled = await createAgent(vault, admin);
    const { principalId } = disabled;
    await vault.principals.disablePrincipal({ requestId: requestId(), principalId }, admin);
    const stranger = await createUser(vault, admin, { namespace: "team-unseen", scopes: ["*"] });
    const good = await createAgent(vault, admin);
    const [head = "", body = "", signature = ""] = good.token.split(".");
    const { kid = "" } = decodeProtectedHeader(good.token);
    const { privateJwk } = await generateSigningJwks(kid);
    const forged = await signAccessToken(
      {
        namespace: "default" as Namespace,
        principalId: "admin",
        kind: "user",
        scopes: ["*"],
        tokenId: "tok_1",
        familyId: "fam_1",
        issuedAtMs: Date.now(),
        expiresAtMs: Date.now() + 60_000,
      },
      { kid, privateKey: await importSigningJwk(privateJwk) },
    );
    const bad = [
      revoked.token,
      revoked.refreshToken,
      disabled.token,
      disabled.refreshToken,
      stranger.token,
      stranger.refreshToken,
      forged,
      `${head}.${body}.${signature.slice(1)}`,
      `${head}.${body}.`,
      "hello",
      "nxr_",
      `nxr_${"A".repeat(43)}`,
      good.clientSecret,
    ];
    for (const token of bad) await saysNothing(token);
    expect((await introspect(good.token)).active).toBe(true);
  });

  it("knows a revocation as soon as it is committed, on any replica", async () => {
    for (let round = 0; round < 5; round++) {
      const agent = await createAgent(vault, admin);
      await vault.auth.logout({}, agent);
      await saysNothing(agent.token, other);
    }
  });

  it("needs its scope, and a token to ask about", async () => {
    const user = await createUser(vault, admin);
    const ask = (token: string, caller: Session) =>
      outcome(vault.auth.introspectToken({ token }, caller));
    expect(await ask(user.token, user)).toBe("forbidden/SCOPE_MISSING");
    expect(await ask("", admin)).toBe("invalid/REQUEST_INVALID");
    expect(await ask("x".repeat(8193), admin)).toBe("invalid/REQUEST_INVALID");
  });
});
