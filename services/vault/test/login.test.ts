import { createPool, type Pool } from "@nexus/postgres";
import { waitFor } from "@nexus/testkit";
import { decodeJwt, decodeProtectedHeader } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hashPassword, matchesPassword } from "../src/domain/password-hash.ts";
import {
  ADMIN_PASSWORD,
  type Agent,
  createAgent,
  createFleet,
  createUser,
  type Fleet,
  failure,
  grant,
  login,
  outcome,
  PASSWORD_ITERATIONS,
  REGISTRY_SECRET,
  type Replica,
  requestId,
  type Session,
} from "./_helpers.ts";

let fleet: Fleet;
let vault: Replica;
let admin: Session;
let pool: Pool;
/** Of transactions that hold rows. */
let holders: Pool;

beforeAll(async () => {
  fleet = await createFleet();
  vault = await fleet.start();
  admin = await login(vault);
  const database = { url: fleet.database.url, applicationName: "test", schema: "vault" };
  pool = createPool({ ...database, max: 2 });
  holders = createPool({ ...database, max: 4 });
});

afterAll(async () => {
  await pool.close();
  await holders.close();
  await fleet.close();
});

const STRONGER = PASSWORD_ITERATIONS * 2;
const REFUSED = "unauthenticated/CREDENTIALS_INVALID";

describe("Login", () => {
  it("gives a user tokens that say who it is", async () => {
    const { tokens } = await vault.auth.login({ principalId: "admin", password: ADMIN_PASSWORD });
    const claims = decodeJwt(tokens?.accessToken ?? "");
    expect(decodeProtectedHeader(tokens?.accessToken ?? "")).toMatchObject({
      alg: "EdDSA",
      typ: "at+jwt",
    });
    expect(claims).toMatchObject({
      iss: "nexus-vault",
      aud: "nexus",
      sub: "admin",
      kind: "user",
      ns: "default",
      scope: "*",
    });
    expect(claims.jti).toMatch(/^tok_/);
    expect(claims["fam"]).toMatch(/^fam_/);
    expect(Math.round((claims.exp ?? 0) - (claims.iat ?? 0))).toBe(3600);
    expect(tokens?.refreshToken).toMatch(/^nxr_[A-Za-z0-9_-]{43}$/);
    expect(tokens?.principal).toMatchObject({
      namespace: "default",
      principalId: "admin",
      scopes: ["*"],
    });
  });

  it("answers an unknown name, a wrong password, an agent and a disabled user alike", async () => {
    const user = await createUser(vault, admin, { password: "password of mallory" });
    const agent = await createAgent(vault, admin);
    await vault.principals.disablePrincipal(
      { requestId: requestId(), principalId: user.principalId },
      admin,
    );
    const attempts = [
      vault.auth.login({ principalId: "nobody", password: "x" }),
      vault.auth.login({ principalId: "admin", password: "wrong" }),
      vault.auth.login({ principalId: agent.principalId, password: agent.clientSecret }),
      vault.auth.login({ principalId: user.principalId, password: "password of mallory" }),
      vault.auth.login({ namespace: "other", principalId: "admin", password: ADMIN_PASSWORD }),
    ];
    const errors = await Promise.all(attempts.map(failure));
    expect(
      new Set(errors.map((error) => `${error.kind}/${error.reason}/${error.message}`)).size,
    ).toBe(1);
    expect(errors[0]?.reason).toBe("CREDENTIALS_INVALID");
  });

  it("costs an unknown name as much as a wrong password", async () => {
    const time = async (principalId: string) => {
      const startedAt = performance.now();
      await outcome(vault.auth.login({ principalId, password: "wrong" }));
      return performance.now() - startedAt;
    };
    const user = await createUser(vault, admin);
    const rounds = [1, 2, 3, 4, 5];
    const unknown: number[] = [];
    const wrong: number[] = [];
    for (const _ of rounds) {
      unknown.push(await time("nobody-at-all"));
      wrong.push(await time(user.principalId));
    }
    // A missing hash would make the difference tenfold; the machine's noise does not.
    const fastest = (times: number[]) => Math.min(...times);
    expect(fastest(unknown) / fastest(wrong)).toBeGreaterThan(0.4);
    expect(fastest(unknown) / fastest(wrong)).toBeLessThan(2.5);
  });

  it("refuses malformed requests before any work", async () => {
    expect(await outcome(vault.auth.login({ principalId: "", password: "x" }))).toBe(
      "invalid/REQUEST_INVALID",
    );
    expect(await outcome(vault.auth.login({ principalId: "admin", password: "" }))).toBe(
      "invalid/REQUEST_INVALID",
    );
    expect(
      await outcome(vault.auth.login({ principalId: "admin", password: "x".repeat(1025) })),
    ).toBe("invalid/REQUEST_INVALID");
    expect(
      await outcome(vault.auth.login({ namespace: "A B", principalId: "admin", password: "x" })),
    ).toBe("invalid/ID_INVALID");
  });

  it("replaces a hash below today's policy at the next login", async () => {
    const user = await createUser(vault, admin, { password: "to be rehashed" });
    const stronger = await fleet.start({ passwordIterations: STRONGER });
    await login(stronger, user.principalId, "to be rehashed");
    const { rows } = await pool.query<{ hash: string }>(
      "SELECT password_hash AS hash FROM principals WHERE principal_id = $1",
      [user.principalId],
    );
    expect(rows[0]?.hash).toContain(`$i=${STRONGER},`);
    await login(vault, user.principalId, "to be rehashed");
    await stronger.stop();
  });

  it("checks a hash from before the pepper and replaces it by a peppered one", async () => {
    const user = await createUser(vault, admin, { password: "older than the pepper" });
    const hash = async () => {
      const { rows } = await pool.query<{ hash: string }>(
        "SELECT password_hash AS hash FROM principals WHERE principal_id = $1",
        [user.principalId],
      );
      return rows[0]?.hash ?? "";
    };
    const iterations = PASSWORD_ITERATIONS;
    expect(await hash()).toContain(`$pbkdf2-sha256$i=${iterations},l=32,k=1$`);
    const plain = await hashPassword("older than the pepper", { iterations });
    await pool.query("UPDATE principals SET password_hash = $2 WHERE principal_id = $1", [
      user.principalId,
      plain,
    ]);
    await login(vault, user.principalId, "older than the pepper");
    const replaced = await hash();
    expect(replaced).toContain(",k=1$");
    // What the database holds is worth nothing to guess at: even the right password does not give it.
    expect(await matchesPassword(replaced, "older than the pepper")).toBe(false);
    expect(await matchesPassword(replaced.replace(",k=1", ""), "older than the pepper")).toBe(
      false,
    );
    await login(vault, user.principalId, "older than the pepper");
  });

  it("follows a pepper to its next version, accepts the one before, and refuses older ones", async () => {
    const user = await createUser(vault, admin, { password: "of three peppers" });
    const { principalId } = user;
    const pepperOf = async () => {
      const { rows } = await pool.query<{ hash: string }>(
        "SELECT password_hash AS hash FROM principals WHERE principal_id = $1",
        [principalId],
      );
      return /,k=(\d+)\$/.exec(rows[0]?.hash ?? "")?.[1];
    };
    const logIn = (replica: Replica) =>
      outcome(replica.auth.login({ principalId, password: "of three peppers" }));
    const [second, twin] = await Promise.all([
      fleet.start({ passwordPepperVersion: 2 }),
      fleet.start({ passwordPepperVersion: 2 }),
    ]);
    const third = await fleet.start({ passwordPepperVersion: 3 });
    expect([await pepperOf(), await logIn(third), await pepperOf()]).toEqual(["1", REFUSED, "1"]);
    expect([await logIn(second), await pepperOf()]).toEqual(["ok", "2"]);
    // The first knows no second version but by what is stored, and takes nothing back.
    expect([await logIn(vault), await logIn(twin), await pepperOf()]).toEqual(["ok", "ok", "2"]);
    expect([await logIn(third), await pepperOf()]).toEqual(["ok", "3"]);
    const { rows } = await pool.query<{ name: string; box: Buffer; version: number }>(
      "SELECT name, box, box_key_version AS version FROM sealed_keys WHERE name LIKE 'password-pepper/%' ORDER BY name",
    );
    expect(rows.map(({ name }) => name)).toEqual(["password-pepper/2", "password-pepper/3"]);
    // Sealed: 32 bytes, an IV and a tag, under a version of vault's own key.
    for (const { box, version } of rows) expect([box.byteLength, version > 0]).toEqual([60, true]);
    for (const replica of [second, twin, third]) await replica.stop();
  });

  it("turns a flood away with LOGIN_BUSY and serves those who wait", async () => {
    const busy = await fleet.start({
      loginQueueMax: 3,
      loginConcurrency: 1,
      passwordIterations: 150_000,
    });
    const flood = Array.from({ length: 20 }, () =>
      busy.auth.login({ principalId: "nobody", password: "x" }),
    );
    const errors = await Promise.all(flood.map(failure));
    const turnedAway = errors.filter((error) => error.reason === "LOGIN_BUSY");
    const served = errors.filter((error) => error.reason === "CREDENTIALS_INVALID");
    expect(served.length).toBeGreaterThanOrEqual(4);
    expect(turnedAway.length).toBeGreaterThanOrEqual(10);
    expect(turnedAway.length + served.length).toBe(20);
    for (const error of turnedAway) {
      expect(error.kind).toBe("exhausted");
      expect(error.details.retryAfterMs).toBeGreaterThan(0);
    }
    await login(busy);
    await busy.stop();
  });
});

describe("GrantClientToken", () => {
  it("gives an agent tokens with the scopes of agents", async () => {
    const { principalId, clientSecret } = await createAgent(vault, admin);
    expect(clientSecret).toMatch(/^nxs_[A-Za-z0-9_-]{43}$/);
    const { tokens } = await vault.auth.grantClientToken({ principalId, clientSecret });
    expect(tokens?.principal?.scopes).toContain("mesh:session:connect");
    expect(tokens?.refreshToken).toMatch(/^nxr_/);
  });

  it("gives a service its scopes and no refresh token", async () => {
    const { tokens } = await vault.auth.grantClientToken({
      namespace: "nexus-system",
      principalId: "registry",
      clientSecret: REGISTRY_SECRET,
    });
    expect(tokens?.principal?.scopes).toEqual([
      "vault:revocation:watch",
      "vault:audit:append",
      "vault:certificate:issue",
    ]);
    expect(tokens?.refreshToken).toBe("");
    expect(tokens?.refreshExpireTime).toBeUndefined();
  });

  it("refuses a wrong secret, an unknown or disabled principal, a user and another namespace alike", async () => {
    const agent = await createAgent(vault, admin);
    const disabled = await createAgent(vault, admin);
    const { principalId } = disabled;
    await vault.principals.disablePrincipal({ requestId: requestId(), principalId }, admin);
    const check = async (id: string, clientSecret: string, namespace = "") =>
      expect(
        await outcome(vault.auth.grantClientToken({ namespace, principalId: id, clientSecret })),
      ).toBe(REFUSED);
    await check(agent.principalId, `${agent.clientSecret}x`);
    await check("nobody", agent.clientSecret);
    await check(principalId, disabled.clientSecret);
    await check("admin", ADMIN_PASSWORD);
    await check("registry", REGISTRY_SECRET);
    await check(agent.principalId, agent.clientSecret, "other");
  });

  it("answers many agents at once, each with its own tokens", async () => {
    const agents = await Promise.all(Array.from({ length: 20 }, () => createAgent(vault, admin)));
    const sessions = await Promise.all(
      agents.flatMap((agent) => [
        grant(vault, agent.principalId, agent.clientSecret),
        grant(vault, agent.principalId, agent.clientSecret),
      ]),
    );
    const subjects = sessions.map((session) => decodeJwt(session.token).sub);
    expect(subjects).toEqual(agents.flatMap(({ principalId }) => [principalId, principalId]));
    expect(new Set(sessions.map((session) => decodeJwt(session.token)["fam"])).size).toBe(40);
  });
});

describe("a principal whose row another transaction holds", () => {
  /** Holds the row of a principal until it is let go. */
  async function hold(principalId: string) {
    const client = await holders.connect();
    await client.query("BEGIN");
    await client.query("SELECT 1 FROM principals WHERE principal_id = $1 FOR NO KEY UPDATE", [
      principalId,
    ]);
    return async (end: "COMMIT" | "ROLLBACK" = "COMMIT") => {
      await client.query(end);
      client.release();
    };
  }

  /** Waits until a grant waits for a row. */
  const someWait = () =>
    waitFor(
      async () => {
        const { rows } = await pool.query(
          "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        );
        return rows.length > 0;
      },
      { what: "a grant that waits" },
    );

  it("delays no grant but its own, which follow when it is let go", async () => {
    const agents = await Promise.all(Array.from({ length: 6 }, () => createAgent(vault, admin)));
    const held = agents.slice(0, 3);
    const free = agents.slice(3);
    const letGo = await Promise.all(held.map(({ principalId }) => hold(principalId)));
    const attempt = ({ principalId, clientSecret }: Agent) =>
      outcome(vault.auth.grantClientToken({ principalId, clientSecret }));
    let answered = 0;
    const stuck = [...held, ...held].map(async (agent) => {
      const answer = await attempt(agent);
      answered++;
      return answer;
    });
    await someWait();
    expect(await Promise.all([...free, ...free].map(attempt))).toEqual(Array(6).fill("ok"));
    // One of several that wait is let go: it does not wait for the others.
    await letGo.pop()?.();
    const [, , third, , , sixth] = stuck;
    expect(await Promise.all([third, sixth])).toEqual(["ok", "ok"]);
    expect(answered).toBe(2);
    for (const one of letGo) await one();
    expect(await Promise.all(stuck)).toEqual(Array(6).fill("ok"));
  });

  it.each([
    ["disabled", "disabled = true"],
    ["given another secret", "credential_version = credential_version + 1"],
  ])("is given no token when it was %s meanwhile", async (_what, change) => {
    const { principalId, clientSecret } = await createAgent(vault, admin);
    const client = await holders.connect();
    await client.query("BEGIN");
    await client.query(`UPDATE principals SET ${change} WHERE principal_id = $1`, [principalId]);
    const waiting = outcome(vault.auth.grantClientToken({ principalId, clientSecret }));
    await someWait();
    await client.query("COMMIT");
    client.release();
    expect(await waiting).toBe(REFUSED);
  });
});

describe("WhoAmI", () => {
  it("describes the caller as its token does", async () => {
    const agent = await createAgent(vault, admin, { scopes: ["mesh:message:send"] });
    const answer = await vault.auth.whoAmI({}, agent);
    expect(answer.principal).toMatchObject({
      principalId: agent.principalId,
      scopes: ["mesh:message:send"],
    });
    expect(answer.tokenId).toBe(decodeJwt(agent.token).jti);
  });

  it("refuses no token and a broken one", async () => {
    expect(await outcome(vault.auth.whoAmI({}))).toBe("unauthenticated/TOKEN_MISSING");
    expect(await outcome(vault.auth.whoAmI({}, { token: "x.y.z" }))).toBe(
      "unauthenticated/TOKEN_INVALID",
    );
  });
});

describe("what is stored", () => {
  it("holds no password, secret or token in clear", async () => {
    const agent = await createAgent(vault, admin);
    await createUser(vault, admin, { password: "canary password in clear" });
    const canaries = [
      "canary password in clear",
      agent.clientSecret,
      agent.refreshToken,
      ADMIN_PASSWORD,
    ];
    for (const table of [
      "principals",
      "token_families",
      "requests",
      "signing_keys",
      "sealed_keys",
    ]) {
      const { rows } = await pool.query<{ text: string }>(`SELECT t::text AS text FROM ${table} t`);
      const text = rows.map((row) => row.text).join("\n");
      for (const canary of canaries) {
        expect(text.includes(canary), table).toBe(false);
        expect(text.includes(Buffer.from(canary).toString("hex")), table).toBe(false);
      }
    }
  });
});
