import { waitFor } from "@nexus/testkit";
import { decodeJwt } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  createAgent,
  createUser,
  login,
  outcome,
  type Replica,
  requestId,
  type Session,
} from "./_helpers.ts";
import { openPairSuite, type PairSuite } from "./_suite.ts";

let { fleet, vault, other, admin, pool, close } = {} as PairSuite;

beforeAll(async () => {
  ({ fleet, vault, other, admin, pool, close } = await openPairSuite());
});

afterAll(() => close());

const REFUSED = "unauthenticated/CREDENTIALS_INVALID";
const REUSED = "unauthenticated/REFRESH_REUSED";
const REVOKED = "unauthenticated/TOKEN_REVOKED";

async function refresh(replica: Replica, refreshToken: string): Promise<Session> {
  const { tokens } = await replica.auth.refreshToken({ refreshToken });
  return { token: tokens?.accessToken ?? "", refreshToken: tokens?.refreshToken ?? "" };
}

describe("RefreshToken", () => {
  it("gives the next set of the same family, as often as its last token is spent", async () => {
    let session: Session = await createAgent(vault, admin);
    const family = decodeJwt(session.token)["fam"];
    for (let i = 0; i < 3; i++) {
      const next = await refresh(i % 2 === 0 ? vault : other, session.refreshToken);
      expect(decodeJwt(next.token)["fam"]).toBe(family);
      expect(next.refreshToken).not.toBe(session.refreshToken);
      expect(await outcome(vault.auth.whoAmI({}, next))).toBe("ok");
      session = next;
    }
  });

  it("takes a second use for theft and ends the whole family", async () => {
    const first = await createAgent(vault, admin);
    const second = await refresh(vault, first.refreshToken);
    const third = await refresh(other, second.refreshToken);
    expect(await outcome(refresh(vault, first.refreshToken))).toBe(REUSED);
    for (const session of [first, second, third]) {
      expect(await outcome(vault.auth.whoAmI({}, session))).toBe(REVOKED);
    }
    expect(await outcome(refresh(vault, third.refreshToken))).toBe(REFUSED);
    expect(await outcome(refresh(vault, second.refreshToken))).toBe(REUSED);
    expect(await outcome(refresh(vault, first.refreshToken))).toBe(REUSED);
  });

  it("gives a client that lost the answer the same refresh token again, on any replica", async () => {
    const first = await createAgent(vault, admin);
    const lost = await refresh(vault, first.refreshToken);
    const again = await refresh(other, first.refreshToken);
    expect(again.refreshToken).toBe(lost.refreshToken);
    expect(decodeJwt(again.token)["fam"]).toBe(decodeJwt(first.token)["fam"]);
    expect(decodeJwt(again.token).jti).not.toBe(decodeJwt(lost.token).jti);
    for (const session of [lost, again]) {
      expect(await outcome(vault.auth.whoAmI({}, session))).toBe("ok");
    }
    expect(await outcome(refresh(vault, again.refreshToken))).toBe("ok");
  });

  it("takes the same for theft when the grace is over", async () => {
    const first = await createAgent(vault, admin);
    const second = await refresh(vault, first.refreshToken);
    await pool.query(
      `UPDATE spent_refresh_tokens SET spent_at = spent_at - interval '31 seconds'
       WHERE family_id = $1`,
      [decodeJwt(first.token)["fam"]],
    );
    expect(await outcome(refresh(vault, first.refreshToken))).toBe(REUSED);
    expect(await outcome(vault.auth.whoAmI({}, second))).toBe(REVOKED);
    expect(await outcome(refresh(vault, second.refreshToken))).toBe(REFUSED);
  });

  it("gives nothing again to a principal that was disabled, or a family that was ended, meanwhile", async () => {
    const out = await createAgent(vault, admin);
    const second = await refresh(vault, out.refreshToken);
    await vault.auth.logout({}, second);
    expect(await outcome(refresh(vault, out.refreshToken))).toBe(REUSED);
    const disabled = await createAgent(vault, admin);
    await refresh(vault, disabled.refreshToken);
    const { principalId } = disabled;
    await vault.principals.disablePrincipal({ requestId: requestId(), principalId }, admin);
    expect(await outcome(refresh(vault, disabled.refreshToken))).toBe(REUSED);
  });

  it("gives many that ask at once the same refresh token", async () => {
    const { refreshToken, token } = await createAgent(vault, admin);
    const sessions = await Promise.all(
      Array.from({ length: 10 }, (_, i) => refresh(i % 2 === 0 ? vault : other, refreshToken)),
    );
    expect(new Set(sessions.map((session) => session.refreshToken)).size).toBe(1);
    const { rows } = await pool.query("SELECT 1 FROM spent_refresh_tokens WHERE family_id = $1", [
      decodeJwt(token)["fam"],
    ]);
    expect(rows).toHaveLength(1);
  });

  it("leaves other families of the principal alone", async () => {
    const first = await createUser(vault, admin, { password: "two logins of one" });
    const elsewhere = await login(vault, first.principalId, "two logins of one");
    const second = await refresh(vault, first.refreshToken);
    await refresh(vault, second.refreshToken);
    expect(await outcome(refresh(vault, first.refreshToken))).toBe(REUSED);
    expect(await outcome(vault.auth.whoAmI({}, elsewhere))).toBe("ok");
  });

  it("without a grace, lets exactly one of two racing callers win and revokes the family", async () => {
    const [strict, strictToo] = [
      await fleet.start({ refreshGraceMs: 0 }),
      await fleet.start({ refreshGraceMs: 0 }),
    ];
    for (let round = 0; round < 10; round++) {
      const { refreshToken } = await createAgent(vault, admin);
      const results = await Promise.all([
        outcome(refresh(strict, refreshToken)),
        outcome(refresh(strictToo, refreshToken)),
      ]);
      expect(results.sort()).toEqual(["ok", REUSED]);
      const { rows } = await pool.query<{ revoked: boolean }>(
        `SELECT f.revoked_at IS NOT NULL AND r.target_id IS NOT NULL AS revoked
         FROM token_families f JOIN spent_refresh_tokens s USING (family_id)
         LEFT JOIN revocations r ON r.target = 'family' AND r.target_id = f.family_id
         ORDER BY s.spent_at DESC LIMIT 1`,
      );
      expect(rows[0]?.revoked).toBe(true);
    }
    await strict.stop();
    await strictToo.stop();
  });

  it("refuses an unknown, malformed or ended token", async () => {
    const brief = await fleet.start({ refreshTokenTtlMs: 1000 });
    const { refreshToken } = await createAgent(brief, admin);
    expect(await outcome(refresh(vault, `nxr_${"A".repeat(43)}`))).toBe(REFUSED);
    expect(await outcome(refresh(vault, "hello"))).toBe(REFUSED);
    expect(await outcome(refresh(vault, ""))).toBe("invalid/REQUEST_INVALID");
    await waitFor(
      async () => {
        const { rows } = await pool.query(
          "SELECT 1 FROM token_families WHERE refresh_expires_at < clock_timestamp()",
        );
        return rows.length > 0;
      },
      { what: "the refresh token to end" },
    );
    expect(await outcome(refresh(brief, refreshToken))).toBe(REFUSED);
    await brief.stop();
  });

  it("reads scopes and the disabled mark anew", async () => {
    const agent = await createAgent(vault, admin);
    await pool.query("UPDATE principals SET scopes = '{a:b:c}' WHERE principal_id = $1", [
      agent.principalId,
    ]);
    const next = await refresh(vault, agent.refreshToken);
    expect(decodeJwt(next.token)["scope"]).toBe("a:b:c");
    await pool.query("UPDATE principals SET disabled = true WHERE principal_id = $1", [
      agent.principalId,
    ]);
    expect(await outcome(refresh(vault, next.refreshToken))).toBe(REFUSED);
  });
});

describe("Logout", () => {
  it("ends the family at once, and again without harm", async () => {
    const agent = await createAgent(vault, admin);
    expect(await outcome(vault.auth.logout({}, agent))).toBe("ok");
    expect(await outcome(vault.auth.whoAmI({}, agent))).toBe(REVOKED);
    expect(await outcome(vault.auth.logout({}, agent))).toBe(REVOKED);
    expect(await outcome(refresh(vault, agent.refreshToken))).toBe(REFUSED);
  });

  it("leaves nobody else logged out, and needs a token", async () => {
    const one = await createAgent(vault, admin);
    const two = await createAgent(vault, admin);
    await vault.auth.logout({}, one);
    expect(await outcome(vault.auth.whoAmI({}, two))).toBe("ok");
    expect(await outcome(vault.auth.logout({}))).toBe("unauthenticated/TOKEN_MISSING");
  });

  it("wins over a refresh that comes at the same time", async () => {
    for (let round = 0; round < 10; round++) {
      const agent = await createAgent(vault, admin);
      const [refreshed] = await Promise.allSettled([
        refresh(other, agent.refreshToken),
        vault.auth.logout({}, agent),
      ]);
      if (refreshed.status === "fulfilled") {
        expect(await outcome(vault.auth.whoAmI({}, refreshed.value))).toBe(REVOKED);
        expect(await outcome(refresh(vault, refreshed.value.refreshToken))).toBe(REFUSED);
      }
    }
  });
});

describe("DisablePrincipal against concurrent grants", () => {
  it("leaves no token alive that was issued meanwhile", async () => {
    for (let round = 0; round < 5; round++) {
      const agent = await createAgent(vault, admin);
      const { principalId, clientSecret } = agent;
      const granting = Array.from({ length: 12 }, (_, i) =>
        (i % 2 === 0 ? vault : other).auth.grantClientToken({ principalId, clientSecret }),
      );
      const disabling = vault.principals.disablePrincipal(
        { requestId: requestId(), principalId },
        admin,
      );
      const granted = await Promise.allSettled(granting);
      await disabling;
      for (const result of granted) {
        if (result.status === "rejected") continue;
        const token = result.value.tokens?.accessToken ?? "";
        const refreshToken = result.value.tokens?.refreshToken ?? "";
        expect(await outcome(vault.auth.whoAmI({}, { token }))).toBe(REVOKED);
        expect(await outcome(refresh(vault, refreshToken))).toBe(REFUSED);
      }
    }
  });
});
