/** Passwords that change: by who knows the old one, and by an administrator. */
import { AuditResult } from "@nexus/proto/common";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ACTION, entriesOf, fieldsOf, sequenced } from "./_audit.ts";
import { createAgent, createUser, login, outcome, requestId, type Session } from "./_helpers.ts";
import { openSuite, type Suite } from "./_suite.ts";

let { vault, admin, pool, close } = {} as Suite;

beforeAll(async () => {
  ({ vault, admin, pool, close } = await openSuite());
});

afterAll(() => close());

const OLD = "a password of a user";
const NEW = "another password of a user";
const REFUSED = "unauthenticated/CREDENTIALS_INVALID";
const REVOKED = "unauthenticated/TOKEN_REVOKED";

const refresh = (refreshToken: string) => vault.auth.refreshToken({ refreshToken });

describe("ChangePassword", () => {
  const change = (caller: Session, oldPassword = OLD, newPassword = NEW, id = requestId()) =>
    vault.auth.changePassword({ requestId: id, oldPassword, newPassword }, caller);

  it("puts the new password in the old one's place and ends the other logins", async () => {
    const user = await createUser(vault, admin);
    const other = await login(vault, user.principalId, OLD);
    await change(user);
    expect(await outcome(login(vault, user.principalId, OLD))).toBe(REFUSED);
    expect(await outcome(login(vault, user.principalId, NEW))).toBe("ok");
    // Access tokens end, the caller's too; of the refresh tokens the caller's own lives on.
    expect(await outcome(vault.auth.whoAmI({}, user))).toBe(REVOKED);
    expect(await outcome(vault.auth.whoAmI({}, other))).toBe(REVOKED);
    expect(await outcome(refresh(other.refreshToken))).toBe(REFUSED);
    const { tokens } = await refresh(user.refreshToken);
    expect(await outcome(vault.auth.whoAmI({}, { token: tokens?.accessToken ?? "" }))).toBe("ok");
  });

  it("happens once per request id, also for who asks again with the next token", async () => {
    const user = await createUser(vault, admin);
    const id = requestId();
    await change(user, OLD, NEW, id);
    const { tokens } = await refresh(user.refreshToken);
    const next = { token: tokens?.accessToken ?? "", refreshToken: "" };
    expect(await outcome(change(next, OLD, NEW, id))).toBe("ok");
    // The repeat revoked nothing and counted no failure.
    expect(await outcome(vault.auth.whoAmI({}, next))).toBe("ok");
    expect(await outcome(change(next, OLD, `${NEW}!`, id))).toBe("conflict/REQUEST_ID_REUSED");
    expect(await outcome(login(vault, user.principalId, NEW))).toBe("ok");
  });

  it("refuses a wrong old password, and the right one under a locked name", async () => {
    const user = await createUser(vault, admin);
    for (let i = 0; i < 5; i++) {
      expect(await outcome(change(user, `guess ${i}`))).toBe("forbidden/PASSWORD_WRONG");
    }
    expect(await outcome(change(user))).toBe("forbidden/PASSWORD_WRONG");
    // The name is the one that logins count.
    expect(await outcome(login(vault, user.principalId, OLD))).toBe(REFUSED);
    expect(await outcome(vault.auth.whoAmI({}, user))).toBe("ok");
    await pool.query("DELETE FROM login_counts");
    expect(await outcome(login(vault, user.principalId, OLD))).toBe("ok");
  });

  it("refuses what is no new password, an agent and nobody", async () => {
    const user = await createUser(vault, admin);
    expect(await outcome(change(user, OLD, "short"))).toBe("invalid/REQUEST_INVALID");
    expect(await outcome(change(user, OLD, OLD))).toBe("invalid/REQUEST_INVALID");
    const agent = await createAgent(vault, admin);
    expect(await outcome(change(agent))).toBe("precondition/PRINCIPAL_NOT_USER");
    expect(await outcome(change({ token: "", refreshToken: "" }))).toMatch(/^unauthenticated\//);
  });

  it("lets one of two changes at once through", async () => {
    const user = await createUser(vault, admin);
    const both = [NEW, `${NEW}!`].map((password) => outcome(change(user, OLD, password)));
    const ended = await Promise.all(both);
    expect(ended.filter((one) => one === "ok")).toHaveLength(1);
    const works = await Promise.all(
      [NEW, `${NEW}!`].map((password) => outcome(login(vault, user.principalId, password))),
    );
    expect(works).toEqual(ended.map((one) => (one === "ok" ? "ok" : REFUSED)));
  });

  it("leaves an entry of each try, and no password in it", async () => {
    const user = await createUser(vault, admin);
    await outcome(change(user, "a wrong guess"));
    await change(user);
    await sequenced(pool);
    const action = ACTION("AuthService", "ChangePassword");
    const entries = await entriesOf(vault, admin, { action, resource: user.principalId });
    expect(entries.map(({ result, reason }) => [result, reason])).toEqual([
      [AuditResult.ALLOWED, ""],
      [AuditResult.DENIED, "PASSWORD_WRONG"],
    ]);
    const hidden = { old_password: "[redacted]", new_password: "[redacted]" };
    expect(entries.map(fieldsOf)).toEqual([hidden, hidden]);
  });
});

describe("ResetPassword", () => {
  const reset = (principalId: string, { caller = admin, password = NEW, id = requestId() } = {}) =>
    vault.principals.resetPassword({ requestId: id, principalId, password }, caller);

  it("gives a user another password and takes back all it holds", async () => {
    const user = await createUser(vault, admin);
    const { principal } = await reset(user.principalId);
    expect(principal?.principalId).toBe(user.principalId);
    expect(await outcome(vault.auth.whoAmI({}, user))).toBe(REVOKED);
    expect(await outcome(refresh(user.refreshToken))).toBe(REFUSED);
    expect(await outcome(login(vault, user.principalId, OLD))).toBe(REFUSED);
    expect(await outcome(login(vault, user.principalId, NEW))).toBe("ok");
  });

  it("happens once per request id", async () => {
    const user = await createUser(vault, admin);
    const id = requestId();
    const first = await reset(user.principalId, { id });
    const session = await login(vault, user.principalId, NEW);
    expect(await reset(user.principalId, { id })).toEqual(first);
    expect(await outcome(vault.auth.whoAmI({}, session))).toBe("ok");
    const reused = outcome(reset(user.principalId, { id, password: `${NEW}!` }));
    expect(await reused).toBe("conflict/REQUEST_ID_REUSED");
  });

  it("refuses nobody, an agent, oneself, who is more than the caller, and a missing scope", async () => {
    const helper = await createUser(vault, admin, { scopes: ["vault:principal:reset-password"] });
    const user = await createUser(vault, admin);
    const agent = await createAgent(vault, admin);
    expect(await outcome(reset("nobody"))).toBe("not_found/PRINCIPAL_NOT_FOUND");
    expect(await outcome(reset(agent.principalId))).toBe("precondition/PRINCIPAL_NOT_USER");
    expect(await outcome(reset("admin"))).toBe("precondition/PRINCIPAL_IS_CALLER");
    expect(await outcome(reset("admin", { caller: helper }))).toBe("forbidden/SCOPE_ESCALATION");
    expect(await outcome(reset("admin", { caller: user }))).toBe("forbidden/SCOPE_MISSING");
    expect(await outcome(reset(user.principalId, { password: "short" }))).toBe(
      "invalid/REQUEST_INVALID",
    );
    expect(await outcome(login(vault, user.principalId, OLD))).toBe("ok");
  });

  it("is in the audit log with whose password it was, and without the password", async () => {
    const user = await createUser(vault, admin);
    await reset(user.principalId);
    await sequenced(pool);
    const action = ACTION("PrincipalService", "ResetPassword");
    const [entry] = await entriesOf(vault, admin, { action, resource: user.principalId });
    expect(entry).toMatchObject({ actor: "admin", result: AuditResult.ALLOWED });
    expect(fieldsOf(entry)).toEqual({ password: "[redacted]" });
  });
});
