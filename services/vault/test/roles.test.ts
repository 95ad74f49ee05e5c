import { decodeJwt } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { allow, deny, putPolicy, putRole, setRoles } from "./_access.ts";
import {
  createAgent,
  createUser,
  failure,
  grant,
  login,
  outcome,
  type Replica,
  requestId,
  type Session,
} from "./_helpers.ts";
import { openPairSuite, type PairSuite } from "./_suite.ts";

let { vault, other, admin, pool, close } = {} as PairSuite;

beforeAll(async () => {
  ({ vault, other, admin, pool, close } = await openPairSuite());
});

afterAll(() => close());

const REVOKED = "unauthenticated/TOKEN_REVOKED";
const ESCALATION = "forbidden/SCOPE_ESCALATION";
const PASSWORD = "a password of a user";

const scopesOf = ({ token }: Session) => String(decodeJwt(token)["scope"]).split(" ").sort();
const ok = (session: Session) => outcome(vault.auth.whoAmI({}, session));

async function refresh(replica: Replica, { refreshToken }: Session): Promise<Session> {
  const { tokens } = await replica.auth.refreshToken({ refreshToken });
  return { token: tokens?.accessToken ?? "", refreshToken: tokens?.refreshToken ?? "" };
}

describe("a role", () => {
  it("gives its scopes to whoever has it, in their next tokens", async () => {
    await putRole(vault, admin, "reader", ["a:b:read", "a:c:read"]);
    const agent = await createAgent(vault, admin, { scopes: ["a:b:read", "x:y:z"] });
    expect(scopesOf(agent)).toEqual(["a:b:read", "x:y:z"]);
    await setRoles(vault, admin, agent.principalId, ["reader"]);
    // The token names its roles, so it ends; the refresh token does not.
    expect(await ok(agent)).toBe(REVOKED);
    const next = await refresh(other, agent);
    expect(scopesOf(next)).toEqual(["a:b:read", "a:c:read", "x:y:z"]);
    expect(decodeJwt(next.token)["roles"]).toBe("reader");
    const { principal } = await vault.auth.whoAmI({}, next);
    expect(principal?.roles).toEqual(["reader"]);
    const fresh = await grant(vault, agent.principalId, agent.clientSecret);
    expect(scopesOf(fresh)).toEqual(scopesOf(next));
  });

  it("can be all that a new principal has", async () => {
    await putRole(vault, admin, "only", ["a:b:only"]);
    const user = await createUser(vault, admin, { roles: ["only"] });
    expect(scopesOf(user)).toEqual(["a:b:only"]);
    const { principals } = await vault.principals.listPrincipals({}, admin);
    const listed = principals.find(({ principalId }) => principalId === user.principalId);
    expect(listed).toMatchObject({ scopes: [], roles: ["only"] });
  });

  it("takes what it loses from running tokens, and leaves them alone when it only gains", async () => {
    await putRole(vault, admin, "worker", ["a:b:one"]);
    const has = await createAgent(vault, admin, { roles: ["worker"] });
    const hasNot = await createAgent(vault, admin);
    await putRole(vault, admin, "worker", ["a:b:one", "a:b:two"]);
    expect(await ok(has)).toBe("ok");
    const grown = await refresh(vault, has);
    expect(scopesOf(grown)).toEqual(["a:b:one", "a:b:two"]);
    await putRole(vault, admin, "worker", ["a:b:two"]);
    expect(await ok(grown)).toBe(REVOKED);
    expect(await ok(hasNot)).toBe("ok");
    expect(scopesOf(await refresh(vault, grown))).toEqual(["a:b:two"]);
  });

  it("is kept, listed by name and removed when nobody has it any more", async () => {
    const spec = { name: "kept", description: "for a test", scopes: ["a:b:c"] };
    const { role } = await vault.access.putRole({ requestId: requestId(), ...spec }, admin);
    expect(role).toMatchObject(spec);
    expect((await vault.access.getRole({ name: "kept" }, admin)).role).toEqual(role);
    const first = await vault.access.listRoles({ page: { pageSize: 1 } }, admin);
    expect(first.roles).toHaveLength(1);
    const page = { pageSize: 100, pageToken: first.page?.nextPageToken ?? "" };
    const rest = await vault.access.listRoles({ page }, admin);
    const listed = [...first.roles, ...rest.roles].map(({ name }) => name);
    expect(listed).toEqual([...listed].sort());
    expect(listed).toContain("kept");
    const agent = await createAgent(vault, admin, { roles: ["kept"] });
    const remove = () =>
      outcome(vault.access.deleteRole({ requestId: requestId(), name: "kept" }, admin));
    expect(await remove()).toBe("precondition/ROLE_IN_USE");
    await setRoles(vault, admin, agent.principalId, []);
    await putPolicy(vault, admin, {
      name: "on-kept",
      statements: [allow(["a:b:c"])],
      roles: ["kept"],
    });
    expect(await remove()).toBe("precondition/ROLE_IN_USE");
    const noPolicy = { requestId: requestId(), name: "on-kept" };
    for (const call of [noPolicy, noPolicy, { ...noPolicy, requestId: requestId() }]) {
      const { wasAbsent } = await vault.access.deletePolicy(call, admin);
      // A repeated call answers as the first one did.
      expect(wasAbsent).toBe(call !== noPolicy);
    }
    const noRole = { requestId: requestId(), name: "kept" };
    expect(await vault.access.deleteRole(noRole, admin)).toMatchObject({ wasAbsent: false });
    expect(await vault.access.deleteRole(noRole, admin)).toMatchObject({ wasAbsent: false });
    const again = { ...noRole, requestId: requestId() };
    expect(await vault.access.deleteRole(again, admin)).toMatchObject({ wasAbsent: true });
    expect(await outcome(vault.access.getRole({ name: "kept" }, admin))).toBe(
      "not_found/ROLE_NOT_FOUND",
    );
  });

  it("happens once per request id", async () => {
    const id = requestId();
    const put = (scopes: string[]) =>
      vault.access.putRole({ requestId: id, name: "once", scopes }, admin);
    const first = await put(["a:b:c"]);
    expect((await put(["a:b:c"])).role).toEqual(first.role);
    expect(await outcome(put(["a:b:d"]))).toBe("conflict/REQUEST_ID_REUSED");
  });

  it("belongs to one namespace", async () => {
    await putRole(vault, admin, "ours", ["a:b:c"]);
    const stranger = await createUser(vault, admin, { namespace: "team-roles", scopes: ["*"] });
    expect(await outcome(vault.access.getRole({ name: "ours" }, stranger))).toBe(
      "not_found/ROLE_NOT_FOUND",
    );
    expect((await vault.access.listRoles({}, stranger)).roles).toEqual([]);
    const theirs = await createUser(vault, stranger, { namespace: "team-roles" });
    expect(await outcome(setRoles(vault, stranger, theirs.principalId, ["ours"]))).toBe(
      "not_found/ROLE_NOT_FOUND",
    );
    await putRole(vault, stranger, "ours", ["a:b:elsewhere"]);
    const holder = await createAgent(vault, admin, { roles: ["ours"] });
    await putRole(vault, stranger, "ours", []);
    expect(await ok(holder)).toBe("ok");
    expect(scopesOf(holder)).toEqual(["a:b:c"]);
  });
});

describe("giving", () => {
  it("is refused beyond what the giver's own token holds, by any way", async () => {
    const scopes = ["vault:*:*", "a:b:c"];
    const limited = await createUser(vault, admin, { scopes });
    await putRole(vault, admin, "mighty", ["*"]);
    await putRole(vault, admin, "small", ["a:b:c"]);
    const agent = await createAgent(vault, admin, { scopes: ["a:b:c"] });
    const { principalId } = agent;
    expect(await outcome(putRole(vault, limited, "own", ["a:b:d"]))).toBe(ESCALATION);
    expect(await outcome(putRole(vault, limited, "own", ["a:b:c"]))).toBe("ok");
    expect(await outcome(setRoles(vault, limited, principalId, ["mighty"]))).toBe(ESCALATION);
    expect(await outcome(createAgent(vault, limited, { roles: ["mighty"] }))).toBe(ESCALATION);
    const policy = (actions: string[], resources: string[] = []) =>
      putPolicy(vault, limited, {
        name: "gift",
        statements: [allow(actions, resources)],
        principalIds: [principalId],
      });
    expect(await outcome(policy(["*"]))).toBe(ESCALATION);
    expect(await outcome(policy(["a:b:d"]))).toBe(ESCALATION);
    expect(await outcome(policy(["a:b:c"]))).toBe("ok");
    // A role is worth what policies give it, too.
    await putPolicy(vault, admin, {
      name: "for-small",
      statements: [allow(["a:b:d"])],
      roles: ["small"],
    });
    expect(await outcome(setRoles(vault, limited, principalId, ["small"]))).toBe(ESCALATION);
    // And so is the secret of whoever has it.
    await setRoles(vault, admin, principalId, ["small"]);
    const rotate = { requestId: requestId(), principalId };
    expect(await outcome(vault.principals.rotateClientSecret(rotate, limited))).toBe(ESCALATION);
  });

  it("back what is beyond one's own is refused too: who is more stays so", async () => {
    const helper = await createUser(vault, admin, { scopes: ["vault:role:assign", "a:b:c"] });
    await putRole(vault, admin, "above", ["a:b:above"]);
    await putRole(vault, admin, "within", ["a:b:c"]);
    const { principalId } = await createAgent(vault, admin, { roles: ["above", "within"] });
    expect(await outcome(setRoles(vault, helper, principalId, []))).toBe(ESCALATION);
    expect(await outcome(setRoles(vault, helper, principalId, ["within"]))).toBe(ESCALATION);
    expect(await outcome(setRoles(vault, helper, principalId, ["above"]))).toBe("ok");
    expect(await outcome(setRoles(vault, admin, principalId, []))).toBe("ok");
  });

  it("is refused for what the giver is denied, be it on one resource", async () => {
    const giver = await createUser(vault, admin, { scopes: ["vault:*:*"] });
    const { principalId } = giver;
    const statements = [deny(["vault:secret:read"], ["prod/*"])];
    await putPolicy(vault, admin, { name: "no-prod", statements, principalIds: [principalId] });
    const create = (scope: string) => outcome(createAgent(vault, giver, { scopes: [scope] }));
    expect(await create("vault:secret:read")).toBe(ESCALATION);
    expect(await create("vault:*:*")).toBe(ESCALATION);
    expect(await create("vault:*:read")).toBe(ESCALATION);
    expect(await create("vault:secret:write")).toBe("ok");
  });

  it("is nobody's to do to itself, and the names have to exist", async () => {
    expect(await outcome(setRoles(vault, admin, "admin", []))).toBe(
      "precondition/PRINCIPAL_IS_CALLER",
    );
    expect(await outcome(setRoles(vault, admin, "nobody", []))).toBe(
      "not_found/PRINCIPAL_NOT_FOUND",
    );
    const agent = await createAgent(vault, admin);
    expect(await outcome(setRoles(vault, admin, agent.principalId, ["nothing"]))).toBe(
      "not_found/ROLE_NOT_FOUND",
    );
    expect(await outcome(createAgent(vault, admin, { roles: ["nothing"] }))).toBe(
      "not_found/ROLE_NOT_FOUND",
    );
    expect(await ok(agent)).toBe("ok");
  });

  it("needs its scope", async () => {
    const user = await createUser(vault, admin);
    const { access } = vault;
    const id = { requestId: requestId(), name: "x" };
    const calls = [
      access.putRole(id, user),
      access.getRole({ name: "x" }, user),
      access.listRoles({}, user),
      access.deleteRole(id, user),
      access.setPrincipalRoles({ requestId: requestId(), principalId: "x" }, user),
      access.putPolicy({ ...id, statements: [allow(["a:b:c"])] }, user),
      access.getPolicy({ name: "x" }, user),
      access.listPolicies({}, user),
      access.deletePolicy(id, user),
      access.checkAccess({ principalId: "x", action: "a:b:c" }, user),
    ];
    const ended = await Promise.all(calls.map(outcome));
    expect(ended).toEqual(calls.map(() => "forbidden/SCOPE_MISSING"));
  });

  it("stops where a token would grow too large, and changes nothing then", async () => {
    const many = (prefix: string, count: number) =>
      Array.from({ length: count }, (_, i) => `a:b:${prefix}-${i}`);
    await putRole(vault, admin, "half", many("x", 32));
    const agent = await createAgent(vault, admin, { scopes: many("own", 32), roles: ["half"] });
    const refused = await failure(putRole(vault, admin, "half", many("x", 33)));
    expect(refused.reason).toBe("ACCESS_TOO_LARGE");
    expect((await vault.access.getRole({ name: "half" }, admin)).role?.scopes).toHaveLength(32);
    expect(await ok(agent)).toBe("ok");
    const statements = [deny(["a:b:x-1"])];
    const policy = { name: "one-more", statements, roles: ["half"] };
    expect(await outcome(putPolicy(vault, admin, policy))).toBe("precondition/ACCESS_TOO_LARGE");
    expect(await outcome(vault.access.getPolicy({ name: "one-more" }, admin))).toBe(
      "not_found/POLICY_NOT_FOUND",
    );
    expect(agent.token.length).toBeLessThan(8192);
  });
});

describe("a change against concurrent grants", () => {
  it("leaves no token alive that holds what was taken meanwhile", async () => {
    for (let round = 0; round < 5; round++) {
      await putRole(vault, admin, "raced", ["a:b:kept", "a:b:taken"]);
      const agents = await Promise.all(
        [1, 2, 3].map(() => createAgent(vault, admin, { roles: ["raced"] })),
      );
      const work = agents.flatMap((agent) => [
        grant(vault, agent.principalId, agent.clientSecret),
        refresh(other, agent),
        grant(other, agent.principalId, agent.clientSecret),
      ]);
      const change = putRole(vault, admin, "raced", ["a:b:kept"]);
      const sessions = await Promise.all(work);
      await change;
      for (const session of [...agents, ...sessions]) {
        const holdsIt = scopesOf(session).includes("a:b:taken");
        const ended = await ok(session);
        if (holdsIt) expect(ended).toBe(REVOKED);
      }
      for (const agent of agents) {
        const fresh = await grant(other, agent.principalId, agent.clientSecret);
        expect(scopesOf(fresh)).toEqual(["a:b:kept"]);
        expect(await ok(fresh)).toBe("ok");
      }
    }
  });

  it("gives a principal that is created meanwhile what is in force afterwards", async () => {
    await putRole(vault, admin, "base", ["a:b:c", "a:b:d"]);
    const statements = [deny(["a:b:d"])];
    const creating = Array.from({ length: 6 }, () => createUser(vault, admin, { roles: ["base"] }));
    const policy = putPolicy(other, admin, { name: "all", statements, roles: ["base"] });
    const users = await Promise.all(creating);
    await policy;
    for (const { principalId } of users) {
      const session = await login(vault, principalId, PASSWORD);
      expect(decodeJwt(session.token)["deny"]).toBe("a:b:d");
    }
    const { rows } = await pool.query(
      "SELECT 1 FROM principals WHERE roles @> '{base}' AND denied_scopes <> '{a:b:d}'",
    );
    expect(rows).toEqual([]);
  });
});
