import { PrincipalKind } from "@nexus/proto/vault";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
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
let admin: Session;
let user: Session & { readonly principalId: string };

beforeAll(async () => {
  fleet = await createFleet();
  vault = await fleet.start();
  admin = await login(vault);
  user = await createUser(vault, admin);
});

afterAll(async () => {
  await fleet.close();
});

const PASSWORD = "a good first password";

describe("CreatePrincipal", () => {
  it("creates a user with the usual scopes, who can log in", async () => {
    const { principal, clientSecret } = await vault.principals.createPrincipal(
      { requestId: requestId(), principalId: "ann", kind: PrincipalKind.USER, password: PASSWORD },
      admin,
    );
    expect(clientSecret).toBe("");
    expect(principal).toMatchObject({ namespace: "default", principalId: "ann", disabled: false });
    expect(principal?.scopes).toEqual([
      "orchestrator:job:submit",
      "orchestrator:job:read",
      "orchestrator:job:cancel",
      "orchestrator:job:control",
      "orchestrator:payload:*",
      "registry:agent:read",
      "insight:performance:read",
      "mesh:message:send",
      "mesh:state:read",
      "mesh:state:write",
      "gateway:status:read",
    ]);
    expect(principal?.createTime).toBeDefined();
    expect(await outcome(login(vault, "ann", PASSWORD))).toBe("ok");
  });

  it("creates once for all retries of a user's creation", async () => {
    const request = {
      requestId: requestId(),
      principalId: "retried",
      kind: PrincipalKind.USER,
      password: PASSWORD,
    };
    const answers = await Promise.all(
      [1, 2, 3].map(() => vault.principals.createPrincipal(request, admin)),
    );
    expect(answers[1]?.principal).toEqual(answers[0]?.principal);
    expect(answers[2]?.principal).toEqual(answers[0]?.principal);
    const changed = { ...request, password: `${PASSWORD}!` };
    expect(await outcome(vault.principals.createPrincipal(changed, admin))).toBe(
      "conflict/REQUEST_ID_REUSED",
    );
    expect(await outcome(vault.principals.getPrincipal({ principalId: "retried" }, admin))).toBe(
      "ok",
    );
  });

  it("returns an agent's secret once", async () => {
    const request = { requestId: requestId(), principalId: "once", kind: PrincipalKind.AGENT };
    const { clientSecret } = await vault.principals.createPrincipal(request, admin);
    expect(await outcome(vault.principals.createPrincipal(request, admin))).toBe(
      "exists/SECRET_ALREADY_RETURNED",
    );
    expect(await outcome(grant(vault, "once", clientSecret))).toBe("ok");
  });

  it("keeps request ids of different callers apart", async () => {
    const creator = await createUser(vault, admin, {
      scopes: ["vault:principal:*", "registry:*:*", "mesh:*:*", "orchestrator:payload:*"],
    });
    const id = requestId();
    const create = (principalId: string, caller: Session) =>
      vault.principals.createPrincipal(
        { requestId: id, principalId, kind: PrincipalKind.AGENT },
        caller,
      );
    expect(await outcome(create("of-admin", admin))).toBe("ok");
    expect(await outcome(create("of-creator", creator))).toBe("ok");
  });

  it("refuses a taken id, escalation, a missing scope and malformed requests", async () => {
    const creator = await createUser(vault, admin, { scopes: ["vault:principal:create", "a:b:c"] });
    const base = { principalId: "refused", kind: PrincipalKind.AGENT, password: "" };
    const check = async (over: object, expected: string, caller: Session = admin) =>
      expect(
        await outcome(
          vault.principals.createPrincipal({ requestId: requestId(), ...base, ...over }, caller),
        ),
        JSON.stringify(over),
      ).toBe(expected);
    await check({ principalId: "admin" }, "exists/PRINCIPAL_EXISTS");
    await check({}, "forbidden/SCOPE_MISSING", user);
    await check({}, "forbidden/SCOPE_ESCALATION", creator);
    await check({ scopes: ["a:b:d"] }, "forbidden/SCOPE_ESCALATION", creator);
    await check({ scopes: ["*"] }, "forbidden/SCOPE_ESCALATION", creator);
    await check({ scopes: ["a:b"] }, "invalid/REQUEST_INVALID");
    await check({ scopes: [`a:b:${"c".repeat(80)}`] }, "invalid/REQUEST_INVALID");
    await check({ principalId: "Capital" }, "invalid/REQUEST_INVALID");
    await check({ kind: PrincipalKind.SERVICE }, "invalid/REQUEST_INVALID");
    await check({ password: "agents have none" }, "invalid/REQUEST_INVALID");
    await check({ kind: PrincipalKind.USER, password: "short" }, "invalid/REQUEST_INVALID");
    await check({ requestId: "" }, "invalid/REQUEST_INVALID");
    await check({}, "unauthenticated/TOKEN_INVALID", { token: "forged", refreshToken: "" });
    expect(await outcome(vault.principals.getPrincipal({ principalId: "refused" }, admin))).toBe(
      "not_found/PRINCIPAL_NOT_FOUND",
    );
    await check({ scopes: ["a:b:c"] }, "ok", creator);
  });
});

describe("CreatePrincipal in another namespace", () => {
  it("opens a namespace for its first administrator, who stays inside it", async () => {
    const tenant = await createUser(vault, admin, { namespace: "team-b", scopes: ["*"] });
    const { principals } = await vault.principals.listPrincipals({}, tenant);
    expect(principals.map(({ namespace, principalId }) => [namespace, principalId])).toEqual([
      ["team-b", tenant.principalId],
    ]);
    const inside = await createUser(vault, tenant, { namespace: "team-b" });
    const get = (principalId: string, caller: Session) =>
      outcome(vault.principals.getPrincipal({ principalId }, caller));
    expect(await get(inside.principalId, tenant)).toBe("ok");
    expect(await get(inside.principalId, admin)).toBe("not_found/PRINCIPAL_NOT_FOUND");
  });

  it("is refused without the right, to every tenant, and for the services' namespace", async () => {
    const tenant = await createUser(vault, admin, { namespace: "team-c", scopes: ["*"] });
    const creator = await createUser(vault, admin, {
      scopes: ["vault:principal:create", "registry:*:*", "mesh:*:*", "orchestrator:payload:*"],
    });
    const create = (namespace: string, caller: Session) =>
      outcome(
        vault.principals.createPrincipal(
          { requestId: requestId(), principalId: "guest", kind: PrincipalKind.AGENT, namespace },
          caller,
        ),
      );
    expect(await create("team-d", creator)).toBe("forbidden/NAMESPACE_FORBIDDEN");
    expect(await create("team-d", tenant)).toBe("forbidden/NAMESPACE_FORBIDDEN");
    expect(await create("default", tenant)).toBe("forbidden/NAMESPACE_FORBIDDEN");
    expect(await create("nexus-system", admin)).toBe("forbidden/NAMESPACE_FORBIDDEN");
    expect(await create("default", creator)).toBe("ok");
    expect(await create("team-c", tenant)).toBe("ok");
  });
});

describe("GetPrincipal", () => {
  it("returns one of the caller's namespace only, without credentials", async () => {
    const { principal } = await vault.principals.getPrincipal({ principalId: "admin" }, admin);
    expect(principal).toMatchObject({
      principalId: "admin",
      kind: PrincipalKind.USER,
      scopes: ["*"],
    });
    expect(Object.keys(principal ?? {}).join()).not.toMatch(/password|secret/i);
    const get = (principalId: string, caller: Session) =>
      outcome(vault.principals.getPrincipal({ principalId }, caller));
    expect(await get("nobody", admin)).toBe("not_found/PRINCIPAL_NOT_FOUND");
    expect(await get("registry", admin)).toBe("not_found/PRINCIPAL_NOT_FOUND");
    expect(await get("admin", user)).toBe("forbidden/SCOPE_MISSING");
  });
});

describe("ListPrincipals", () => {
  it("pages through the namespace by id, steady under inserts", async () => {
    for (let i = 0; i < 5; i++) await createAgent(vault, admin, { principalId: `page-${i}` });
    const seen: string[] = [];
    let pageToken = "";
    do {
      const answer = await vault.principals.listPrincipals(
        { page: { pageSize: 2, pageToken } },
        admin,
      );
      expect(answer.principals.length).toBeLessThanOrEqual(2);
      seen.push(...answer.principals.map((principal) => principal.principalId));
      pageToken = answer.page?.nextPageToken ?? "";
      if (seen.length === 2) await createAgent(vault, admin, { principalId: "0-before-all" });
    } while (pageToken !== "");
    expect(seen).toEqual([...seen].sort());
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen).toContain("page-4");
    expect(seen).not.toContain("registry");
  });

  it("refuses a foreign page token, too large a page and a missing scope", async () => {
    const list = (page: object, caller: Session) =>
      outcome(vault.principals.listPrincipals({ page }, caller));
    expect(await list({ pageToken: "nonsense" }, admin)).toBe("invalid/PAGE_TOKEN_INVALID");
    expect(await list({ pageSize: 1001 }, admin)).toBe("invalid/REQUEST_INVALID");
    expect(await list({}, user)).toBe("forbidden/SCOPE_MISSING");
  });
});

describe("DisablePrincipal", () => {
  it("ends everything the principal holds, and again without harm", async () => {
    const agent = await createAgent(vault, admin);
    const { principalId } = agent;
    const request = { requestId: requestId(), principalId };
    const { principal } = await vault.principals.disablePrincipal(request, admin);
    expect(principal?.disabled).toBe(true);
    expect(await outcome(vault.auth.whoAmI({}, agent))).toBe("unauthenticated/TOKEN_REVOKED");
    expect(await outcome(grant(vault, principalId, agent.clientSecret))).toBe(
      "unauthenticated/CREDENTIALS_INVALID",
    );
    expect((await vault.principals.disablePrincipal(request, admin)).principal).toEqual(principal);
    const again = { requestId: requestId(), principalId };
    expect((await vault.principals.disablePrincipal(again, admin)).principal).toEqual(principal);
  });

  it("refuses nobody, oneself, a missing scope and a request id with another body", async () => {
    const id = requestId();
    const disable = (principalId: string, caller: Session, request = requestId()) =>
      outcome(vault.principals.disablePrincipal({ requestId: request, principalId }, caller));
    expect(await disable("nobody", admin)).toBe("not_found/PRINCIPAL_NOT_FOUND");
    expect(await disable("admin", admin)).toBe("precondition/PRINCIPAL_IS_CALLER");
    expect(await disable("admin", user)).toBe("forbidden/SCOPE_MISSING");
    const agent = await createAgent(vault, admin);
    expect(await disable(agent.principalId, admin, id)).toBe("ok");
    expect(await disable("ann", admin, id)).toBe("conflict/REQUEST_ID_REUSED");
    expect(await disable("nobody", admin, requestId())).toBe("not_found/PRINCIPAL_NOT_FOUND");
  });
});

describe("RotateClientSecret", () => {
  it("makes the old secret worthless at once and leaves tokens alive", async () => {
    const agent = await createAgent(vault, admin);
    const { principalId } = agent;
    const request = { requestId: requestId(), principalId };
    const { clientSecret } = await vault.principals.rotateClientSecret(request, admin);
    expect(await outcome(grant(vault, principalId, agent.clientSecret))).toBe(
      "unauthenticated/CREDENTIALS_INVALID",
    );
    expect(await outcome(grant(vault, principalId, clientSecret))).toBe("ok");
    expect(await outcome(vault.auth.whoAmI({}, agent))).toBe("ok");
    expect(await outcome(vault.principals.rotateClientSecret(request, admin))).toBe(
      "exists/SECRET_ALREADY_RETURNED",
    );
    expect(await outcome(grant(vault, principalId, clientSecret))).toBe("ok");
  });

  it("refuses nobody, a user, a missing scope, an agent above the caller and a reused request id", async () => {
    const helper = await createUser(vault, admin, { scopes: ["vault:principal:rotate-secret"] });
    const agent = await createAgent(vault, admin, { scopes: ["registry:agent:read"] });
    const rotate = (principalId: string, caller: Session, id = requestId()) =>
      outcome(vault.principals.rotateClientSecret({ requestId: id, principalId }, caller));
    expect(await rotate("nobody", admin)).toBe("not_found/PRINCIPAL_NOT_FOUND");
    expect(await rotate(user.principalId, admin)).toBe("precondition/PRINCIPAL_NOT_AGENT");
    expect(await rotate(agent.principalId, user)).toBe("forbidden/SCOPE_MISSING");
    expect(await rotate(agent.principalId, helper)).toBe("forbidden/SCOPE_ESCALATION");
    const id = requestId();
    expect(await rotate(agent.principalId, admin, id)).toBe("ok");
    expect(await rotate("once", admin, id)).toBe("conflict/REQUEST_ID_REUSED");
  });
});
