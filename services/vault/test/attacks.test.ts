/** Attacks that broke other systems, tried on this one; docs/security.md lists them all with the test of each. */
import { DecisionReason, PrincipalKind } from "@nexus/proto/vault";
import { decodeJwt } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deny, putPolicy, putRole } from "./_access.ts";
import { createAgent, createUser, grant, login, outcome, requestId } from "./_helpers.ts";
import { openSuite, type Suite } from "./_suite.ts";

let { vault, admin, pool, close } = {} as Suite;

beforeAll(async () => {
  ({ vault, admin, pool, close } = await openSuite());
});

afterAll(() => close());

const INVALID = "invalid/REQUEST_INVALID";

async function countOf(table: string): Promise<number> {
  const text = `SELECT count(*)::integer AS count FROM ${table}`;
  return (await pool.query<{ count: number }>(text)).rows[0]?.count ?? 0;
}

describe("names", () => {
  it("have no second spelling that is another role, policy or principal", async () => {
    await putRole(vault, admin, "root-like", ["a:b:c"]);
    for (const name of ["ROOT-LIKE", "Root-like", "root-like ", " root-like", "root-lik\u0435"]) {
      expect(await outcome(putRole(vault, admin, name, ["*"])), name).toBe(INVALID);
      expect(await outcome(createAgent(vault, admin, { roles: [name] })), name).toBe(INVALID);
      const statements = [deny(["a:b:c"])];
      expect(await outcome(putPolicy(vault, admin, { name, statements })), name).toBe(INVALID);
      const get = vault.access.getRole({ name }, admin);
      expect(await outcome(get), name).toBe(INVALID);
    }
    expect((await vault.access.getRole({ name: "root-like" }, admin)).role?.scopes).toEqual([
      "a:b:c",
    ]);
  });

  it("cannot hold what means something in a scope, a pattern or a claim", async () => {
    const parts = ["*", "+", "/", ",", " ", ":", "\n", "%", "\\", "\u0000"];
    for (const part of parts) {
      const principalId = `eve${part}x`;
      const request = { requestId: requestId(), principalId, kind: PrincipalKind.AGENT };
      expect(await outcome(vault.principals.createPrincipal(request, admin)), part).toBe(INVALID);
      const namespace = `eve${part}x`;
      const inside = { requestId: requestId(), principalId: "eve", namespace };
      const create = vault.principals.createPrincipal({ ...inside, kind: 2 }, admin);
      expect(await outcome(create), part).toMatch(/^invalid\//);
      expect(await outcome(putRole(vault, admin, `eve${part}x`, [])), part).toBe(INVALID);
    }
  });

  it("of scopes cannot smuggle a second scope into the token", async () => {
    const user = await createUser(vault, admin, { scopes: ["vault:principal:create", "a:b:c"] });
    for (const scope of ["a:b:c *", "a:b:c\tvault:*:*", "a:b:c\n*", "a:b:*c", "A:B:C", "a:b:c "]) {
      expect(await outcome(createAgent(vault, user, { scopes: [scope] })), scope).toBe(INVALID);
      expect(await outcome(putRole(vault, admin, "smuggler", [scope])), scope).toBe(INVALID);
    }
  });
});

describe("a path", () => {
  it("around a deny is refused in every spelling", async () => {
    const agent = await createAgent(vault, admin, { scopes: ["vault:secret:*"] });
    const { principalId } = agent;
    const statements = [deny(["vault:secret:read"], ["prod/*"])];
    await putPolicy(vault, admin, { name: "paths", statements, principalIds: [principalId] });
    const around = [
      "test/../prod/db",
      "./prod/db",
      "prod//db",
      "/prod/db",
      "prod/./db",
      "prod/db/",
      "prod\\db",
      "prod/db\u0000",
      "prod/x/../db",
      "test/%2e%2e/../prod/db",
    ];
    for (const resource of around) {
      const question = { principalId, action: "vault:secret:read", resource };
      const { allowed, reason } = await vault.access.checkAccess(question, admin);
      expect({ resource, allowed, reason }).toEqual({
        resource,
        allowed: false,
        reason: DecisionReason.MALFORMED,
      });
    }
  });
});

describe("a leaked id", () => {
  it("of a family or a namespace is worth nothing to another tenant", async () => {
    const stranger = await createUser(vault, admin, { namespace: "team-thief", scopes: ["*"] });
    const agent = await createAgent(vault, admin);
    const family = String(decodeJwt(agent.token)["fam"]);
    const revoke = (target: { case: "familyId" | "wholeNamespace"; value: string }) =>
      outcome(vault.auth.revokeTokens({ requestId: requestId(), target }, stranger));
    expect(await revoke({ case: "familyId", value: family })).toBe("ok");
    expect(await revoke({ case: "wholeNamespace", value: "default" })).toBe(
      "forbidden/NAMESPACE_FORBIDDEN",
    );
    expect(await outcome(vault.auth.whoAmI({}, agent))).toBe("ok");
    const { refreshToken } = agent;
    expect(await outcome(vault.auth.refreshToken({ refreshToken }))).toBe("ok");
    const { active } = await vault.auth.introspectToken({ token: agent.token }, stranger);
    expect(active).toBe(false);
  });
});

describe("a proof that is refused", () => {
  it("leaves no family behind, however far it came", async () => {
    const user = await createUser(vault, admin, { principalId: "nearly" });
    const agent = await createAgent(vault, admin);
    const { principalId } = agent;
    await vault.principals.disablePrincipal({ requestId: requestId(), principalId }, admin);
    for (let i = 0; i < 5; i++) {
      await outcome(vault.auth.login({ principalId: user.principalId, password: "wrong" }));
    }
    const before = await countOf("token_families");
    const refused = [
      // The right password, under a name that is locked.
      login(vault, user.principalId, "a password of a user"),
      login(vault, "admin", "wrong"),
      login(vault, "nobody", "wrong"),
      grant(vault, principalId, agent.clientSecret),
      vault.auth.refreshToken({ refreshToken: agent.refreshToken }),
      vault.auth.refreshToken({ refreshToken: `nxr_${"A".repeat(43)}` }),
    ];
    const ended = await Promise.all(refused.map(outcome));
    expect(ended).toEqual(refused.map(() => "unauthenticated/CREDENTIALS_INVALID"));
    expect(await countOf("token_families")).toBe(before);
  });
});
