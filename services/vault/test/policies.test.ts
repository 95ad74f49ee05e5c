import { DecisionReason } from "@nexus/proto/vault";
import { waitFor } from "@nexus/testkit";
import { decodeJwt } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { allow, deny, putPolicy, putRole, setRoles } from "./_access.ts";
import {
  type Agent,
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
import { CONTEXT, createKey } from "./_transit.ts";

let fleet: Fleet;
let vault: Replica;
let other: Replica;
let admin: Session;

beforeAll(async () => {
  fleet = await createFleet();
  vault = await fleet.start();
  other = await fleet.start();
  admin = await login(vault);
  for (const name of ["team-a-pay", "team-a-mail", "team-b-pay"]) {
    await createKey(vault, admin, { name });
  }
});

afterAll(async () => {
  await fleet.close();
});

const DENIED = "forbidden/ACCESS_DENIED";
const MISSING = "forbidden/SCOPE_MISSING";
const REVOKED = "unauthenticated/TOKEN_REVOKED";
const plaintext = Buffer.from("a message");

function encrypt(keyName: string, caller: Session, replica = vault): Promise<string> {
  return outcome(replica.transit.encrypt({ keyName, plaintext, context: CONTEXT }, caller));
}

function renew({ principalId, clientSecret }: Agent): Promise<Session> {
  return grant(vault, principalId, clientSecret);
}

async function remove(name: string): Promise<void> {
  await vault.access.deletePolicy({ requestId: requestId(), name }, admin);
}

describe("a rule on resources", () => {
  it("lets a principal use the keys it names, and no other, by every method", async () => {
    const agent = await createAgent(vault, admin, { scopes: ["a:b:c"] });
    const { principalId } = agent;
    expect(await encrypt("team-a-pay", agent)).toBe(MISSING);
    const actions = ["vault:transit:*", "vault:key:read"];
    const statements = [allow(actions, ["team-a-*"])];
    await putPolicy(vault, admin, { name: "team-a", statements, principalIds: [principalId] });
    const session = await renew(agent);
    expect(decodeJwt(session.token)["lscope"]).toBe("vault:key:read vault:transit:*");
    expect(await encrypt("team-a-pay", session)).toBe("ok");
    expect(await encrypt("team-b-pay", session)).toBe(DENIED);
    // Whether a key exists shows to nobody who may not use it.
    expect(await encrypt("team-b-none", session)).toBe(DENIED);
    expect(await encrypt("team-a-none", session)).toBe("not_found/KEY_NOT_FOUND");
    const { keys } = await vault.keys.listKeys({}, session);
    expect(keys.map(({ name }) => name)).toEqual(["team-a-mail", "team-a-pay"]);
    expect(await outcome(vault.keys.getKey({ name: "team-b-pay" }, session))).toBe(DENIED);
    const rotate = { requestId: requestId(), name: "team-a-pay" };
    expect(await outcome(vault.keys.rotateKey(rotate, session))).toBe(MISSING);
    // A scope on some resources is none where no resource is asked about.
    expect(await outcome(vault.transit.generateRandom({ sizeBytes: 1 }, session))).toBe(MISSING);
    expect(await outcome(vault.keys.getRewrapProgress({}, session))).toBe(MISSING);
    const { limitedScopes } = await vault.auth.whoAmI({}, session);
    expect(limitedScopes).toEqual(["vault:key:read", "vault:transit:*"]);
  });

  it("is asked by the methods that stream", async () => {
    const agent = await createAgent(vault, admin, { scopes: ["a:b:c"] });
    const { principalId } = agent;
    const statements = [allow(["vault:transit:*"], ["team-a-*"])];
    await putPolicy(vault, admin, { name: "streams", statements, principalIds: [principalId] });
    const session = await renew(agent);
    const stream = async (keyName: string, method: "encryptStream" | "decryptStream") => {
      const start = { keyName, keyVersion: 1, context: CONTEXT };
      const frames = async function* () {
        yield { frame: { case: "start" as const, value: start } };
      };
      for await (const _ of vault.transit[method](frames(), session)) break;
    };
    expect(await outcome(stream("team-a-pay", "encryptStream"))).toBe("ok");
    expect(await outcome(stream("team-b-pay", "encryptStream"))).toBe(DENIED);
    expect(await outcome(stream("team-b-pay", "decryptStream"))).toBe(DENIED);
  });

  it("denies against every scope, at once on running tokens, within a second on every replica", async () => {
    const user = await createUser(vault, admin, { scopes: ["*"] });
    expect(await encrypt("team-b-pay", user, other)).toBe("ok");
    const statements = [deny(["vault:*:*"], ["team-b-*"])];
    const refused = await outcome(
      putPolicy(vault, admin, { name: "no-b", statements, principalIds: [user.principalId] }),
    );
    // Nobody would ask about a resource of every service of vault.
    expect(refused).toBe("invalid/REQUEST_INVALID");
    const exact = [deny(["vault:transit:*", "vault:key:*"], ["team-b-*"])];
    const { principalId } = user;
    await putPolicy(vault, admin, { name: "no-b", statements: exact, principalIds: [principalId] });
    expect(await encrypt("team-b-pay", user)).toBe(DENIED);
    expect(await encrypt("team-a-pay", user)).toBe("ok");
    const { keys } = await vault.keys.listKeys({}, user);
    expect(keys.map(({ name }) => name)).toEqual(["team-a-mail", "team-a-pay"]);
    await waitFor(async () => (await encrypt("team-b-pay", user, other)) === DENIED, {
      timeoutMs: 1000,
      what: "the policy to arrive at the other replica",
    });
    await remove("no-b");
    expect(await encrypt("team-b-pay", user)).toBe("ok");
  });

  it("stops a grant on resources at once when it is taken back", async () => {
    const agent = await createAgent(vault, admin, { scopes: ["a:b:c"] });
    const { principalId } = agent;
    const statements = [allow(["vault:transit:encrypt"], ["team-a-*"])];
    await putPolicy(vault, admin, { name: "short", statements, principalIds: [principalId] });
    const session = await renew(agent);
    expect(await encrypt("team-a-pay", session)).toBe("ok");
    await remove("short");
    expect(await encrypt("team-a-pay", session)).toBe(DENIED);
    expect(await encrypt("team-a-pay", await renew(agent))).toBe(MISSING);
  });
});

describe("a rule without resources", () => {
  it("gives in the next token, and takes from the running ones", async () => {
    const agent = await createAgent(vault, admin, { scopes: ["vault:transit:encrypt"] });
    const { principalId } = agent;
    const who = { principalIds: [principalId] };
    await putPolicy(vault, admin, {
      name: "more",
      statements: [allow(["vault:transit:hash"])],
      ...who,
    });
    expect(await outcome(vault.auth.whoAmI({}, agent))).toBe("ok");
    const session = await renew(agent);
    expect(await outcome(vault.transit.hashData({ data: plaintext }, session))).toBe("ok");
    await putPolicy(vault, admin, {
      name: "less",
      statements: [deny(["vault:transit:*"])],
      ...who,
    });
    expect(await encrypt("team-a-pay", session)).toBe(REVOKED);
    const denied = await renew(agent);
    expect(decodeJwt(denied.token)["deny"]).toBe("vault:transit:*");
    expect(await encrypt("team-a-pay", denied)).toBe(MISSING);
    expect(await outcome(vault.transit.hashData({ data: plaintext }, denied))).toBe(MISSING);
    await remove("less");
    // Lifting a denial gives, so the token that says it lives on as it is.
    expect(await encrypt("team-a-pay", denied)).toBe(MISSING);
    expect(await encrypt("team-a-pay", await renew(agent))).toBe("ok");
    await remove("more");
    expect(await outcome(vault.auth.whoAmI({}, denied))).toBe(REVOKED);
  });

  it("reaches a role, everyone, and those who come later", async () => {
    const caller = await createUser(vault, admin, { namespace: "team-rules", scopes: ["*"] });
    await putRole(vault, caller, "crew", ["vault:transit:hash", "vault:key:read"]);
    const crew = await createUser(vault, caller, { namespace: "team-rules", roles: ["crew"] });
    const alone = await createUser(vault, caller, {
      namespace: "team-rules",
      scopes: ["vault:transit:hash"],
    });
    const hash = (session: Session) =>
      outcome(vault.transit.hashData({ data: plaintext }, session));
    const again = ({ principalId }: { principalId: string }) =>
      login(vault, principalId, "a password of a user", "team-rules");
    const statements = [deny(["vault:transit:hash"])];
    await putPolicy(vault, caller, { name: "rule", statements, roles: ["crew"] });
    expect(await hash(crew)).toBe(REVOKED);
    expect(await hash(alone)).toBe("ok");
    expect(await hash(await again(crew))).toBe(MISSING);
    await putPolicy(vault, caller, { name: "rule", statements, everyone: true });
    expect(await hash(alone)).toBe(REVOKED);
    // The namespace's tokens ended, the writer's own too.
    expect(await outcome(vault.auth.whoAmI({}, caller))).toBe(REVOKED);
    const writer = await again(caller);
    const later = createAgent(vault, writer, { roles: ["crew"] });
    expect(await outcome(later)).toBe("forbidden/SCOPE_ESCALATION");
    const reader = { namespace: "team-rules", scopes: ["vault:key:read"] };
    const newcomer = await createUser(vault, writer, reader);
    expect(decodeJwt(newcomer.token)["deny"]).toBe("vault:transit:hash");
    // Another namespace has not heard of it.
    expect(await outcome(vault.auth.whoAmI({}, admin))).toBe("ok");
  });

  it("reaches a token from before the role, too", async () => {
    await putRole(vault, admin, "late", ["a:b:c"]);
    const agent = await createAgent(vault, admin, { scopes: ["vault:transit:hash"] });
    await setRoles(vault, admin, agent.principalId, ["late"]);
    await putPolicy(vault, admin, {
      name: "late-rule",
      statements: [deny(["vault:transit:hash"])],
      roles: ["late"],
    });
    expect(await outcome(vault.transit.hashData({ data: plaintext }, agent))).toBe(REVOKED);
  });
});

describe("PutPolicy", () => {
  it("refuses whom it cannot find, what is malformed, and a writer that would lock itself out", async () => {
    const put = (policy: Omit<Parameters<typeof putPolicy>[2], "name">) =>
      outcome(putPolicy(vault, admin, { name: "refused", ...policy }));
    const statements = [deny(["a:b:c"])];
    expect(await put({ statements, roles: ["nothing"] })).toBe("not_found/ROLE_NOT_FOUND");
    expect(await put({ statements, principalIds: ["nobody"] })).toBe(
      "not_found/PRINCIPAL_NOT_FOUND",
    );
    expect(await put({ statements: [] })).toBe("invalid/REQUEST_INVALID");
    expect(await put({ statements: [deny(["a:b"])] })).toBe("invalid/REQUEST_INVALID");
    const resource = (pattern: string) =>
      put({ statements: [deny(["vault:secret:read"], [pattern])] });
    for (const pattern of ["a/../b", "/a", "a//b", "a*b", "**", "a/"]) {
      expect(await resource(pattern), pattern).toBe("invalid/RESOURCE_INVALID");
    }
    expect(await put({ statements: [deny(["orchestrator:job:submit"], ["x"])] })).toBe(
      "invalid/REQUEST_INVALID",
    );
    for (const who of [{ everyone: true }, { principalIds: ["admin"] }]) {
      expect(await put({ statements: [deny(["vault:*:*"])], ...who })).toBe(
        "precondition/PRINCIPAL_IS_CALLER",
      );
    }
    expect(await outcome(vault.access.getPolicy({ name: "refused" }, admin))).toBe(
      "not_found/POLICY_NOT_FOUND",
    );
  });

  it("keeps what it was given in one form, once per request id, and lists it by name", async () => {
    const id = requestId();
    const put = (actions: string[]) =>
      vault.access.putPolicy(
        {
          requestId: id,
          name: "formed",
          description: "for a test",
          statements: [deny(actions, ["b/*", "a/*", "a/*"]), allow(["x:y:z"], ["*"])],
        },
        admin,
      );
    const { policy } = await put(["vault:secret:read"]);
    expect(policy?.statements).toMatchObject([
      deny(["vault:secret:read"], ["a/*", "b/*"]),
      allow(["x:y:z"]),
    ]);
    expect((await put(["vault:secret:read"])).policy).toEqual(policy);
    expect(await outcome(put(["vault:secret:write"]))).toBe("conflict/REQUEST_ID_REUSED");
    expect((await vault.access.getPolicy({ name: "formed" }, admin)).policy).toEqual(policy);
    const { policies } = await vault.access.listPolicies({}, admin);
    const names = policies.map(({ name }) => name);
    expect(names).toEqual([...names].sort());
    expect(names).toContain("formed");
    await remove("formed");
    await remove("formed");
  });
});

describe("CheckAccess", () => {
  it("says what a principal may do, and which policy says so", async () => {
    const { principalId } = await createAgent(vault, admin, { scopes: ["vault:secret:*"] });
    const statements = [deny(["vault:secret:read"], ["prod/*"]), allow(["vault:key:read"], ["k"])];
    await putPolicy(vault, admin, { name: "checked", statements, principalIds: [principalId] });
    const ask = async (action: string, resource = "") => {
      const question = { principalId, action, resource };
      const { allowed, reason, policy } = await vault.access.checkAccess(question, admin);
      return `${allowed} ${DecisionReason[reason]} ${policy}`;
    };
    expect(await ask("vault:secret:read", "prod/db")).toBe("false DENIED checked");
    expect(await ask("vault:secret:read", "test/db")).toBe("true ALLOWED ");
    expect(await ask("vault:secret:read", "test/../prod/db")).toBe("false MALFORMED ");
    expect(await ask("vault:key:read", "k")).toBe("true ALLOWED checked");
    expect(await ask("vault:key:read", "other")).toBe("false NO_GRANT ");
    expect(await ask("vault:key:read")).toBe("false NO_GRANT ");
    const nobody = { principalId: "nobody", action: "a:b:c" };
    expect(await outcome(vault.access.checkAccess(nobody, admin))).toBe(
      "not_found/PRINCIPAL_NOT_FOUND",
    );
  });
});
