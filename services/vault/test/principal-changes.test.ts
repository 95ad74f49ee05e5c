/** What changes about a principal after it was made: whether it may act, and what. */
import { AuditResult } from "@nexus/proto/common";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ACTION, entriesOf, sequenced } from "./_audit.ts";
import { createAgent, createUser, grant, outcome, requestId, type Session } from "./_helpers.ts";
import { openSuite, type Suite } from "./_suite.ts";

let { vault, admin, pool, close } = {} as Suite;
let user: Session & { readonly principalId: string };

beforeAll(async () => {
  ({ vault, admin, pool, close } = await openSuite());
  user = await createUser(vault, admin);
});

afterAll(() => close());

const REVOKED = "unauthenticated/TOKEN_REVOKED";

async function audited(method: string, resource: string): Promise<AuditResult[]> {
  await sequenced(pool);
  const filter = { action: ACTION("PrincipalService", method), resource };
  return (await entriesOf(vault, admin, filter)).map(({ result }) => result);
}

describe("EnablePrincipal", () => {
  const disable = (principalId: string) =>
    vault.principals.disablePrincipal({ requestId: requestId(), principalId }, admin);
  const enable = (principalId: string, caller: Session = admin, id = requestId()) =>
    vault.principals.enablePrincipal({ requestId: id, principalId }, caller);

  it("lets a disabled one prove itself again, and brings back nothing that was revoked", async () => {
    const agent = await createAgent(vault, admin);
    const { principalId, clientSecret } = agent;
    await disable(principalId);
    const id = requestId();
    const { principal } = await enable(principalId, admin, id);
    expect(principal?.disabled).toBe(false);
    expect(await outcome(vault.auth.whoAmI({}, agent))).toBe(REVOKED);
    expect(await outcome(vault.auth.refreshToken({ refreshToken: agent.refreshToken }))).toBe(
      "unauthenticated/CREDENTIALS_INVALID",
    );
    const session = await grant(vault, principalId, clientSecret);
    expect(await outcome(vault.auth.whoAmI({}, session))).toBe("ok");
    expect((await enable(principalId)).principal).toEqual(principal);
    // A repeat of the first call does not undo what came after it.
    await disable(principalId);
    expect((await enable(principalId, admin, id)).principal).toEqual(principal);
    expect(await outcome(grant(vault, principalId, clientSecret))).toBe(
      "unauthenticated/CREDENTIALS_INVALID",
    );
    const { ALLOWED } = AuditResult;
    expect(await audited("EnablePrincipal", principalId)).toEqual([ALLOWED, ALLOWED, ALLOWED]);
  });

  it("refuses nobody, a missing scope, who is more than the caller, and a reused request id", async () => {
    const helper = await createUser(vault, admin, { scopes: ["vault:principal:enable"] });
    const agent = await createAgent(vault, admin, { scopes: ["registry:agent:read"] });
    await disable(agent.principalId);
    expect(await outcome(enable("nobody"))).toBe("not_found/PRINCIPAL_NOT_FOUND");
    expect(await outcome(enable(agent.principalId, user))).toBe("forbidden/SCOPE_MISSING");
    expect(await outcome(enable(agent.principalId, helper))).toBe("forbidden/SCOPE_ESCALATION");
    const id = requestId();
    expect(await outcome(enable(agent.principalId, admin, id))).toBe("ok");
    expect(await outcome(enable("other", admin, id))).toBe("conflict/REQUEST_ID_REUSED");
  });
});

describe("SetPrincipalScopes", () => {
  const set = (principalId: string, scopes: string[], caller: Session = admin, id = requestId()) =>
    vault.principals.setPrincipalScopes({ requestId: id, principalId, scopes }, caller);

  it("replaces the scopes, and takes tokens back only when one goes", async () => {
    const agent = await createAgent(vault, admin, { scopes: ["registry:agent:read"] });
    const wider = ["registry:agent:read", "mesh:message:send"];
    const { principal } = await set(agent.principalId, [...wider, "mesh:message:send"]);
    expect(principal?.scopes).toEqual(wider);
    expect(await outcome(vault.auth.whoAmI({}, agent))).toBe("ok");
    const id = requestId();
    expect((await set(agent.principalId, [], admin, id)).principal?.scopes).toEqual([]);
    expect(await outcome(vault.auth.whoAmI({}, agent))).toBe(REVOKED);
    // The login lives on, with less.
    const { tokens } = await vault.auth.refreshToken({ refreshToken: agent.refreshToken });
    expect(tokens?.principal?.scopes).toEqual([]);
    await set(agent.principalId, wider);
    expect((await set(agent.principalId, [], admin, id)).principal?.scopes).toEqual([]);
    const { principalId } = agent;
    const now = await vault.principals.getPrincipal({ principalId }, admin);
    expect(now.principal?.scopes).toEqual(wider);
    expect(await audited("SetPrincipalScopes", principalId)).toHaveLength(4);
  });

  it("adds nothing beyond the caller's own, and lets stay what is there", async () => {
    const helper = await createUser(vault, admin, {
      scopes: ["vault:principal:set-scopes", "mesh:message:send"],
    });
    const agent = await createAgent(vault, admin, { scopes: ["registry:agent:read"] });
    const { principalId } = agent;
    const kept = ["registry:agent:read", "mesh:message:send"];
    expect(await outcome(set(principalId, kept, helper))).toBe("ok");
    expect(await outcome(set(principalId, [...kept, "mesh:state:read"], helper))).toBe(
      "forbidden/SCOPE_ESCALATION",
    );
    expect(await outcome(set(principalId, ["*"], helper))).toBe("forbidden/SCOPE_ESCALATION");
  });

  it("takes nothing away beyond the caller's own", async () => {
    const helper = await createUser(vault, admin, {
      scopes: ["vault:principal:set-scopes", "vault:principal:reset-password", "mesh:message:send"],
    });
    const mighty = await createUser(vault, admin, { scopes: ["*", "mesh:message:send"] });
    const { principalId } = mighty;
    expect(await outcome(set(principalId, [], helper))).toBe("forbidden/SCOPE_ESCALATION");
    expect(await outcome(set(principalId, ["mesh:message:send"], helper))).toBe(
      "forbidden/SCOPE_ESCALATION",
    );
    const reset = { requestId: requestId(), principalId, password: "a password of its own" };
    expect(await outcome(vault.principals.resetPassword(reset, helper))).toBe(
      "forbidden/SCOPE_ESCALATION",
    );
    expect(await outcome(vault.auth.whoAmI({}, mighty))).toBe("ok");
    expect(await outcome(set(principalId, ["*"], helper))).toBe("ok");
  });

  it("refuses nobody, oneself, a missing scope, what is no scope, and a reused request id", async () => {
    expect(await outcome(set("nobody", []))).toBe("not_found/PRINCIPAL_NOT_FOUND");
    expect(await outcome(set("admin", []))).toBe("precondition/PRINCIPAL_IS_CALLER");
    expect(await outcome(set(user.principalId, [], user))).toBe("forbidden/SCOPE_MISSING");
    expect(await outcome(set(user.principalId, ["all of it"]))).toBe("invalid/REQUEST_INVALID");
    const agent = await createAgent(vault, admin);
    const id = requestId();
    expect(await outcome(set(agent.principalId, [], admin, id))).toBe("ok");
    const reused = outcome(set(agent.principalId, ["mesh:message:send"], admin, id));
    expect(await reused).toBe("conflict/REQUEST_ID_REUSED");
  });

  it("refuses more than a token may carry, with what roles give", async () => {
    const name = "sixty";
    const scopes = Array.from({ length: 60 }, (_, i) => `domain:thing-${i}:read`);
    await vault.access.putRole({ requestId: requestId(), name, scopes }, admin);
    const agent = await createAgent(vault, admin, { roles: [name] });
    const five = Array.from({ length: 5 }, (_, i) => `domain:other-${i}:read`);
    expect(await outcome(set(agent.principalId, five))).toBe("precondition/ACCESS_TOO_LARGE");
    expect(await outcome(set(agent.principalId, five.slice(1)))).toBe("ok");
  });
});
