/** Nobody makes small who is mightier, to act as what is left of it. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { allow, deny, putPolicy, putRole, setRoles } from "./_access.ts";
import { createUser, login, outcome, requestId, type Session } from "./_helpers.ts";
import { openSuite, type Suite } from "./_suite.ts";

type User = Session & { readonly principalId: string };

const ESCALATION = "forbidden/SCOPE_ESCALATION";
/** What a lesser administrator has: all that changes principals, and one scope of those that work. */
const LESSER = ["vault:role:*", "vault:policy:*", "vault:principal:*", "a:b:c"];

let { vault, admin, close } = {} as Suite;
let lesser: User;

beforeAll(async () => {
  ({ vault, admin, close } = await openSuite());
});

afterAll(() => close());

beforeEach(async () => {
  lesser = await createUser(vault, admin, { scopes: LESSER });
});

const remove = (name: string, caller: Session) =>
  outcome(vault.access.deletePolicy({ requestId: requestId(), name }, caller));

/** The lesser one cannot become the mightier one, which is what it was. */
async function expectUntouched(mighty: User): Promise<void> {
  const { principalId } = mighty;
  const reset = { requestId: requestId(), principalId, password: "a password of another" };
  expect(await outcome(vault.principals.resetPassword(reset, lesser))).toBe(ESCALATION);
  expect(await outcome(vault.auth.whoAmI({}, mighty))).toBe("ok");
}

describe("a role of a mightier principal", () => {
  it.each([
    ["emptied", []],
    ["made small", ["a:b:c"]],
  ])("is not %s by a lesser one", async (how, scopes) => {
    const name = `mighty-${scopes.length}`;
    await putRole(vault, admin, name, ["*", "a:b:c"]);
    const mighty = await createUser(vault, admin, { roles: [name] });
    expect(await outcome(putRole(vault, lesser, name, scopes)), how).toBe(ESCALATION);
    await expectUntouched(mighty);
    expect(await outcome(putRole(vault, admin, name, scopes))).toBe("ok");
  });

  it("may lose what the lesser one has itself", async () => {
    await putRole(vault, admin, "shared", ["a:b:c", "vault:role:read"]);
    expect(await outcome(putRole(vault, lesser, "shared", ["a:b:c"]))).toBe("ok");
  });
});

describe("a policy that makes somebody mighty", () => {
  const open = async (name: string, resources: string[] = []) => {
    const mighty = await createUser(vault, admin, { scopes: ["a:b:c"] });
    const principalIds = [mighty.principalId];
    const statements = [allow(["vault:secret:read"], resources)];
    await putPolicy(vault, admin, { name, statements, principalIds });
    return { mighty: { ...mighty, ...(await relogin(mighty)) }, principalIds };
  };
  const relogin = ({ principalId }: User) => login(vault, principalId, "a password of a user");

  it.each([
    ["everywhere", []],
    ["on some resources", ["prod/*"]],
  ])("is not removed by a lesser one: %s", async (where, resources) => {
    const name = `opens-${resources.length}`;
    const { mighty } = await open(name, resources);
    expect(await remove(name, lesser), where).toBe(ESCALATION);
    await expectUntouched(mighty);
    expect(await remove(name, admin)).toBe("ok");
  });

  it("is not replaced by a lesser one, nor made for somebody else", async () => {
    const { mighty, principalIds } = await open("replaced");
    const smaller = { name: "replaced", statements: [allow(["a:b:c"])] };
    expect(await outcome(putPolicy(vault, lesser, { ...smaller, principalIds }))).toBe(ESCALATION);
    const other = { ...smaller, principalIds: [lesser.principalId] };
    expect(await outcome(putPolicy(vault, lesser, other))).toBe(ESCALATION);
    await expectUntouched(mighty);
    expect(await outcome(putPolicy(vault, admin, { ...smaller, principalIds }))).toBe("ok");
  });
});

describe("a denial", () => {
  it("is not put upon a mightier one by a lesser one, beyond what that has itself", async () => {
    const mighty = await createUser(vault, admin, { scopes: ["*"] });
    const principalIds = [mighty.principalId];
    const put = (actions: string[], resources: string[] = []) =>
      outcome(
        putPolicy(vault, lesser, {
          name: "muzzle",
          statements: [deny(actions, resources)],
          principalIds,
        }),
      );
    expect(await put(["*"])).toBe(ESCALATION);
    expect(await put(["vault:*:*"])).toBe(ESCALATION);
    expect(await put(["vault:secret:read"], ["prod/*"])).toBe(ESCALATION);
    await expectUntouched(mighty);
    expect(await put(["a:b:c"])).toBe("ok");
  });

  it("comes with a role, and goes with it, only by the hand of who holds what is denied", async () => {
    await putRole(vault, admin, "muzzled", ["a:b:c"]);
    const statements = [deny(["vault:secret:read"])];
    await putPolicy(vault, admin, { name: "of-muzzled", statements, roles: ["muzzled"] });
    const mighty = await createUser(vault, admin, { scopes: ["*"] });
    const { principalId } = mighty;
    expect(await outcome(setRoles(vault, lesser, principalId, ["muzzled"]))).toBe(ESCALATION);
    await expectUntouched(mighty);
    expect(await outcome(setRoles(vault, admin, principalId, ["muzzled"]))).toBe("ok");
    expect(await outcome(setRoles(vault, lesser, principalId, []))).toBe(ESCALATION);
    expect(await outcome(setRoles(vault, admin, principalId, []))).toBe("ok");
  });

  it("is lifted by whoever may write policies, also where it denies its own subject what it allows", async () => {
    const statements = [allow(["a:*:*"]), deny(["a:b:kept"])];
    await putPolicy(vault, admin, { name: "both", statements, principalIds: ["admin"] });
    // The denial ends its tokens.
    admin = await login(vault);
    expect(await remove("both", admin)).toBe("ok");
    admin = await login(vault);
    const nothing = [deny(["vault:secret:read"])];
    const principalIds = [lesser.principalId];
    await putPolicy(vault, admin, { name: "lifted", statements: nothing, principalIds });
    const again = await login(vault, lesser.principalId, "a password of a user");
    expect(await remove("lifted", again)).toBe("ok");
  });
});
