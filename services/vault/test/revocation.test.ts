import {
  type ClosableTokenVerifier,
  createServiceTokenSource,
  createTokenVerifier,
} from "@nexus/identity";
import { createPool, type Pool, withTransaction } from "@nexus/postgres";
import type { WatchRevocationsResponse } from "@nexus/proto/vault";
import { createSilentLogger } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { decodeJwt } from "jose";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createRevocationReader, createRevocationWriter } from "../src/store/revocation-store.ts";
import {
  createAgent,
  createFleet,
  createUser,
  type Fleet,
  grant,
  login,
  outcome,
  REGISTRY_SECRET,
  type Replica,
  requestId,
  type Session,
} from "./_helpers.ts";

let fleet: Fleet;
let vault: Replica;
let other: Replica;
let admin: Session;
let service: Session;
let pool: Pool;
const verifiers: ClosableTokenVerifier[] = [];

beforeAll(async () => {
  fleet = await createFleet();
  vault = await fleet.start();
  other = await fleet.start();
  admin = await login(vault);
  service = await grant(vault, "registry", REGISTRY_SECRET, "nexus-system");
  pool = createPool({ url: fleet.database.url, max: 4, applicationName: "test", schema: "vault" });
});

afterEach(async () => {
  for (const verifier of verifiers.splice(0)) await verifier.close();
});

afterAll(async () => {
  await pool.close();
  await fleet.close();
});

const REVOKED = "unauthenticated/TOKEN_REVOKED";
const WITHIN_MS = 1000;

/** The verifier of another service: its own keys, its own stream, nothing shared with vault but the wire. */
async function followFrom(replica: Replica): Promise<ClosableTokenVerifier> {
  const verifier = await createTokenVerifier({
    vault: replica.channel,
    tokens: createServiceTokenSource({
      vault: replica.channel,
      principalId: "registry",
      clientSecret: REGISTRY_SECRET,
    }),
    logger: createSilentLogger(),
  });
  verifiers.push(verifier);
  return verifier;
}

async function revokedWithin(verifier: ClosableTokenVerifier, token: string): Promise<void> {
  await waitFor(async () => (await outcome(verifier.verify(token))) === REVOKED, {
    timeoutMs: WITHIN_MS,
    what: "the revocation to arrive",
  });
}

async function revokeToken(session: Session, caller: Session = admin): Promise<void> {
  const tokenId = decodeJwt(session.token).jti ?? "";
  await vault.auth.revokeTokens(
    { requestId: requestId(), target: { case: "tokenId", value: tokenId } },
    caller,
  );
}

/** Reads messages until the condition holds. */
async function readUntil(
  replica: Replica,
  resumeRevision: bigint,
  done: (messages: readonly WatchRevocationsResponse[]) => boolean,
): Promise<WatchRevocationsResponse[]> {
  const messages: WatchRevocationsResponse[] = [];
  const leaving = new AbortController();
  const stream = replica.auth.watchRevocations(
    { resumeRevision },
    { ...service, signal: leaving.signal },
  );
  for await (const message of stream) {
    messages.push(message);
    if (done(messages)) break;
  }
  leaving.abort();
  return messages;
}

describe("RevokeTokens", () => {
  it("takes one token back and leaves the family's next one alone", async () => {
    const agent = await createAgent(vault, admin);
    await revokeToken(agent);
    expect(await outcome(vault.auth.whoAmI({}, agent))).toBe(REVOKED);
    const { tokens } = await vault.auth.refreshToken({ refreshToken: agent.refreshToken });
    expect(await outcome(vault.auth.whoAmI({}, { token: tokens?.accessToken }))).toBe("ok");
  });

  it("takes everything of a principal back, refresh tokens too, and lets it start anew", async () => {
    const agent = await createAgent(vault, admin);
    const second = await grant(vault, agent.principalId, agent.clientSecret);
    const target = { case: "principalId", value: agent.principalId } as const;
    const { revokeTime } = await vault.auth.revokeTokens({ requestId: requestId(), target }, admin);
    expect(Math.abs(Number(revokeTime?.seconds) * 1000 - Date.now())).toBeLessThan(5000);
    for (const session of [agent, second]) {
      expect(await outcome(vault.auth.whoAmI({}, session))).toBe(REVOKED);
      const { refreshToken } = session;
      expect(await outcome(vault.auth.refreshToken({ refreshToken }))).toBe(
        "unauthenticated/CREDENTIALS_INVALID",
      );
    }
    const fresh = await grant(vault, agent.principalId, agent.clientSecret);
    expect(await outcome(vault.auth.whoAmI({}, fresh))).toBe("ok");
    expect(await outcome(other.auth.whoAmI({}, fresh))).toBe("ok");
  });

  it("takes a family back with its refresh token, and no other family", async () => {
    const agent = await createAgent(vault, admin);
    const second = await grant(vault, agent.principalId, agent.clientSecret);
    const value = String(decodeJwt(agent.token)["fam"]);
    const target = { case: "familyId", value } as const;
    await vault.auth.revokeTokens({ requestId: requestId(), target }, admin);
    expect(await outcome(vault.auth.whoAmI({}, agent))).toBe(REVOKED);
    const { refreshToken } = agent;
    expect(await outcome(vault.auth.refreshToken({ refreshToken }))).toBe(
      "unauthenticated/CREDENTIALS_INVALID",
    );
    expect(await outcome(vault.auth.whoAmI({}, second))).toBe("ok");
  });

  it("takes a whole namespace back, for its own people or for those of `default`, and no other", async () => {
    const verifier = await followFrom(other);
    const namespace = "team-whole";
    const target = { case: "wholeNamespace", value: namespace } as const;
    const revoke = (caller: Session) =>
      vault.auth.revokeTokens({ requestId: requestId(), target }, caller);
    const open = { namespace, scopes: ["*"] };
    const bystander = await createUser(vault, admin, { namespace: "team-c", scopes: ["*"] });
    const one = await createUser(vault, admin, open);
    const two = await createUser(vault, admin, open);
    expect(await outcome(revoke(bystander))).toBe("forbidden/NAMESPACE_FORBIDDEN");
    await revoke(admin);
    for (const session of [one, two]) {
      expect(await outcome(vault.auth.whoAmI({}, session))).toBe(REVOKED);
      await revokedWithin(verifier, session.token);
      const { refreshToken } = session;
      expect(await outcome(vault.auth.refreshToken({ refreshToken }))).toBe(
        "unauthenticated/CREDENTIALS_INVALID",
      );
    }
    expect(await outcome(vault.auth.whoAmI({}, bystander))).toBe("ok");
    const fresh = await login(vault, one.principalId, "a password of a user", namespace);
    expect(await outcome(vault.auth.whoAmI({}, fresh))).toBe("ok");
    await revoke(fresh);
    expect(await outcome(vault.auth.whoAmI({}, fresh))).toBe(REVOKED);
    const services = { case: "wholeNamespace", value: "nexus-system" } as const;
    expect(
      await outcome(vault.auth.revokeTokens({ requestId: requestId(), target: services }, admin)),
    ).toBe("forbidden/NAMESPACE_FORBIDDEN");
  });

  it("is idempotent by request id and refuses the id with another body", async () => {
    const agent = await createAgent(vault, admin);
    const id = requestId();
    const revoke = (value: string) =>
      vault.auth.revokeTokens({ requestId: id, target: { case: "principalId", value } }, admin);
    const first = await revoke(agent.principalId);
    const fresh = await grant(vault, agent.principalId, agent.clientSecret);
    expect((await revoke(agent.principalId)).revokeTime).toEqual(first.revokeTime);
    expect(await outcome(vault.auth.whoAmI({}, fresh))).toBe("ok");
    expect(await outcome(revoke("somebody-else"))).toBe("conflict/REQUEST_ID_REUSED");
  });

  it("refuses nobody, a missing scope and a missing target", async () => {
    const user = await createUser(vault, admin);
    const revoke = (value: string, caller: Session) =>
      vault.auth.revokeTokens(
        { requestId: requestId(), target: { case: "principalId", value } },
        caller,
      );
    expect(await outcome(revoke("nobody", admin))).toBe("not_found/PRINCIPAL_NOT_FOUND");
    expect(await outcome(revoke("admin", user))).toBe("forbidden/SCOPE_MISSING");
    expect(await outcome(vault.auth.revokeTokens({ requestId: requestId() }, admin))).toBe(
      "invalid/REQUEST_INVALID",
    );
  });

  it("reaches no token of another namespace, even by its id", async () => {
    const stranger = await createUser(vault, admin, { namespace: "team-b", scopes: ["*"] });
    const agent = await createAgent(vault, admin);
    await revokeToken(agent, stranger);
    expect(await outcome(vault.auth.whoAmI({}, agent))).toBe("ok");
    await revokeToken(agent);
    expect(await outcome(vault.auth.whoAmI({}, agent))).toBe(REVOKED);
  });
});

describe("a verifier in another process", () => {
  it("learns of a revocation within a second, also from another replica", async () => {
    const verifier = await followFrom(other);
    const agent = await createAgent(vault, admin);
    const principal = await verifier.verify(agent.token);
    const told = new Promise<void>((resolve) => {
      verifier.onRevoked(principal, resolve);
    });
    await vault.auth.logout({}, agent);
    await revokedWithin(verifier, agent.token);
    await told;
    expect(verifier.stale).toBe(false);
  });

  it("knows revocations from before its start with its first answer", async () => {
    const agent = await createAgent(vault, admin);
    await revokeToken(agent);
    const verifier = await followFrom(vault);
    expect(await outcome(verifier.verify(agent.token))).toBe(REVOKED);
  });

  it("keeps verifying while vault is away and catches up when it is back", async () => {
    const short = await fleet.start();
    const { address } = short.service;
    const verifier = await followFrom(short);
    const agent = await createAgent(vault, admin);
    const kept = await createAgent(vault, admin);
    await verifier.verify(agent.token);
    await short.service[Symbol.asyncDispose]();
    expect(await outcome(verifier.verify(kept.token))).toBe("ok");
    await vault.auth.logout({}, agent);
    const again = await fleet.start({ grpcPort: Number(address.split(":")[1]) });
    await waitFor(async () => (await outcome(verifier.verify(agent.token))) === REVOKED, {
      timeoutMs: 10_000,
      what: "the verifier to reconnect",
    });
    expect(await outcome(verifier.verify(kept.token))).toBe("ok");
    await again.stop();
  });

  it("refuses the tokens of another installation", async () => {
    const foreign = await createFleet();
    const stranger = await foreign.start();
    const verifier = await followFrom(vault);
    const { token } = await login(stranger);
    expect(await outcome(verifier.verify(token))).toBe("unauthenticated/TOKEN_INVALID");
    await foreign.close();
  });
});

describe("WatchRevocations", () => {
  it("sends what is in force after the resume revision, then what comes, and signs of life", async () => {
    const agent = await createAgent(vault, admin);
    await vault.auth.logout({}, agent);
    const family = decodeJwt(agent.token)["fam"];
    const all = await readUntil(vault, 0n, () => true);
    const last = all[0]?.revocations.at(-1);
    expect(last).toMatchObject({
      target: { case: "familyId", value: family },
      namespace: "default",
    });
    expect(
      Number(last?.expireTime?.seconds) - Number(last?.revokeTime?.seconds),
    ).toBeGreaterThanOrEqual(3600);
    const resumed = await readUntil(
      vault,
      all[0]?.revision ?? 0n,
      (messages) => messages.length === 2,
    );
    expect(resumed.map((message) => message.revocations.length)).toEqual([0, 0]);
  });

  it("needs its own scope", async () => {
    const read = async (session: Session) => {
      for await (const message of vault.auth.watchRevocations({}, session)) return message;
      return undefined;
    };
    expect(await outcome(read(await createUser(vault, admin)))).toBe("forbidden/SCOPE_MISSING");
    // It tells of every namespace, so holding all scopes in one of them is not enough.
    expect(await outcome(read(admin))).toBe("forbidden/SERVICE_ONLY");
  });

  it("ends within a second when its own token is revoked", async () => {
    const own = await grant(vault, "registry", REGISTRY_SECRET, "nexus-system");
    const read = async () => {
      let first = true;
      for await (const _ of vault.auth.watchRevocations({}, own)) {
        if (first) await vault.auth.logout({}, own);
        first = false;
      }
    };
    expect(await outcome(read())).toBe(REVOKED);
  });
});

describe("the order of revisions", () => {
  it("shows no later revision while an earlier one is uncommitted", async () => {
    const reader = createRevocationReader(pool);
    const add = (id: string, hold: Promise<void>) =>
      withTransaction(pool, async (client) => {
        const namespace = "default" as never;
        const record = await createRevocationWriter(client).add({ target: "token", namespace, id });
        await hold;
        return record.revision;
      });
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { rows } = await pool.query<{ revision: string }>("SELECT revision FROM revocation_head");
    const before = BigInt(rows[0]?.revision ?? "0");
    const first = add("held-back", held);
    await waitFor(
      async () => {
        const waiting = await pool.query(
          "SELECT 1 FROM pg_stat_activity WHERE state = 'idle in transaction'",
        );
        return waiting.rows.length > 0;
      },
      { what: "the first transaction to hold its revision" },
    );
    const second = add("comes-later", Promise.resolve());
    await waitFor(
      async () => {
        const waiting = await pool.query(
          "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
        );
        return waiting.rows.length > 0;
      },
      { what: "the second transaction to wait for it" },
    );
    expect(await reader.after(before, 10)).toEqual([]);
    release();
    const revisions = [await first, await second];
    expect(revisions[0]).toBeLessThan(revisions[1] ?? 0n);
    expect((await reader.after(before, 10)).map((record) => record.id)).toEqual([
      "held-back",
      "comes-later",
    ]);
  });

  it("loses none of many concurrent revocations on any replica", async () => {
    const verifier = await followFrom(other);
    const agents = await Promise.all(Array.from({ length: 30 }, () => createAgent(vault, admin)));
    await Promise.all(
      agents.map((agent, i) => (i % 2 === 0 ? vault : other).auth.logout({}, agent)),
    );
    for (const agent of agents) await revokedWithin(verifier, agent.token);
  });
});
