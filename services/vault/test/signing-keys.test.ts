import {
  type ClosableTokenVerifier,
  createServiceTokenSource,
  createTokenVerifier,
} from "@nexus/identity";
import { createPool, type Pool } from "@nexus/postgres";
import { createSilentLogger } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { decodeProtectedHeader } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  createAgent,
  createFleet,
  createUser,
  type Fleet,
  failure,
  grant,
  KEY,
  login,
  outcome,
  REGISTRY_SECRET,
  type Replica,
  requestId,
  type Session,
} from "./_helpers.ts";

/** The shortest that the configuration allows: a verifier may keep the key set for 1 s, replicas spread it in 2 s. */
const QUICK = { keyOverlapMs: 3000, jwksMaxAgeMs: 1000 };

let fleet: Fleet;
let vault: Replica;
let other: Replica;
let admin: Session;
let pool: Pool;

beforeAll(async () => {
  fleet = await createFleet();
  [vault, other] = await Promise.all([fleet.start(QUICK), fleet.start(QUICK)]);
  admin = await login(vault);
  pool = createPool({ url: fleet.database.url, max: 2, applicationName: "test", schema: "vault" });
});

afterAll(async () => {
  await pool.close();
  await fleet.close();
});

interface Jwk {
  readonly kid: string;
  readonly d?: string;
}

async function publishedKeys(replica: Replica): Promise<readonly Jwk[]> {
  const { jwksJson } = await replica.auth.getJwks({});
  return (JSON.parse(jwksJson) as { keys: Jwk[] }).keys;
}

const kidOf = ({ token }: Session) => decodeProtectedHeader(token).kid;

/** Rotates as soon as the next key is old enough. */
async function rotate(replica: Replica, caller: Session) {
  return waitFor(() => replica.auth.rotateSigningKey({ requestId: requestId() }, caller), {
    what: "the next key to be old enough",
  });
}

/** Lets the next key be old enough now, for tests with no verifier that could miss it. */
async function ageNextKey(): Promise<void> {
  await pool.query("UPDATE signing_keys SET published_at = published_at - interval '1 hour'");
}

describe("GetJwks", () => {
  it("publishes the current and the next key without private parts, the same on all replicas", async () => {
    const keys = await publishedKeys(vault);
    expect(keys.length).toBe(2);
    expect(keys.every((key) => key.d === undefined)).toBe(true);
    expect(keys[0]).toMatchObject({ kty: "OKP", crv: "Ed25519", alg: "EdDSA", use: "sig" });
    expect(kidOf(admin)).toBe(keys[0]?.kid);
    expect(await publishedKeys(other)).toEqual(keys);
    expect((await vault.auth.getJwks({})).maxAgeSeconds).toBe(1);
  });
});

describe("RotateSigningKey", () => {
  it("lets the published next key sign and keeps the previous one verifying", async () => {
    const [current, next] = await publishedKeys(vault);
    const before = await createAgent(vault, admin);
    await ageNextKey();
    const rotated = await rotate(vault, admin);
    expect(rotated.currentKeyId).toBe(next?.kid);
    const keys = await publishedKeys(vault);
    expect(keys.map((key) => key.kid)).toEqual([next?.kid, rotated.nextKeyId, current?.kid]);
    const after = await grant(vault, before.principalId, before.clientSecret);
    expect(kidOf(after)).toBe(next?.kid);
    expect(await outcome(vault.auth.whoAmI({}, before))).toBe("ok");
    expect(await outcome(vault.auth.whoAmI({}, after))).toBe("ok");
  });

  it("refuses a key that verifiers may not know yet, with the time to wait", async () => {
    await ageNextKey();
    await rotate(vault, admin);
    const error = await failure(vault.auth.rotateSigningKey({ requestId: requestId() }, admin));
    expect(`${error.kind}/${error.reason}`).toBe("precondition/KEY_TOO_YOUNG");
    expect(error.details.retryAfterMs).toBeGreaterThan(0);
    expect(error.details.retryAfterMs).toBeLessThanOrEqual(QUICK.keyOverlapMs);
  });

  it("rotates once for all retries and needs its scope", async () => {
    const id = requestId();
    const call = (caller: Session) => vault.auth.rotateSigningKey({ requestId: id }, caller);
    await ageNextKey();
    const first = await call(admin);
    expect(await call(admin)).toEqual(first);
    expect((await publishedKeys(vault))[0]?.kid).toBe(first.currentKeyId);
    expect(await outcome(call(await createUser(vault, admin)))).toBe("forbidden/SCOPE_MISSING");
    const tenant = await createUser(vault, admin, { scopes: ["*"], namespace: "team-keys" });
    expect(await outcome(call(tenant))).toBe("forbidden/NAMESPACE_FORBIDDEN");
  });

  it("drops the private part of a previous key from the database", async () => {
    const { rows } = await pool.query<{ state: string; sealed: boolean }>(
      "SELECT state, private_box IS NOT NULL AS sealed FROM signing_keys",
    );
    for (const { state, sealed } of rows) expect(sealed).toBe(state !== "previous");
  });

  it("is never noticed by a verifier, on any replica, under load", async () => {
    const verifier = await follow(other);
    const agent = await createAgent(vault, admin);
    // Tests before this one rotated to keys that were not spread first; those have to arrive everywhere.
    await waitFor(
      async () => {
        for (const replica of [vault, other]) {
          const session = await grant(replica, agent.principalId, agent.clientSecret);
          await Promise.all([vault, other].map((one) => one.auth.whoAmI({}, session)));
          await verifier.verify(session.token);
        }
        return true;
      },
      { what: "every replica to know the signer" },
    );
    const kids = new Set<string | undefined>();
    const stop = new AbortController();
    let checks = 0;
    const work = async (replica: Replica) => {
      while (!stop.signal.aborted) {
        const session = await grant(replica, agent.principalId, agent.clientSecret);
        kids.add(kidOf(session));
        await verifier.verify(session.token);
        await vault.auth.whoAmI({}, session);
        await other.auth.whoAmI({}, session);
        checks++;
      }
    };
    const load = Promise.allSettled([vault, other].map(work));
    for (const replica of [vault, other, vault]) {
      await waitFor(() => kids.size > 0, { what: "the signer to be seen" });
      kids.clear();
      await rotate(replica, admin);
    }
    await waitFor(() => kids.size > 0, { what: "the last signer to be seen" });
    stop.abort();
    expect((await load).filter((result) => result.status === "rejected")).toEqual([]);
    expect(checks).toBeGreaterThan(10);
    await verifier.close();
  });
});

describe("rotation by age", () => {
  it("happens once however many replicas see it is due", async () => {
    const aged = await createFleet();
    const config = { ...QUICK, keyRotationAgeMs: 1000 };
    const first = await aged.start(config);
    const [, next] = await publishedKeys(first);
    const database = createPool({
      url: aged.database.url,
      max: 1,
      applicationName: "test",
      schema: "vault",
    });
    await database.query(
      "UPDATE signing_keys SET published_at = published_at - interval '1 hour', activated_at = activated_at - interval '1 hour'",
    );
    // The maintenance loops of two new replicas run their first step at once.
    const more = await Promise.all([aged.start(config), aged.start(config)]);
    for (const replica of [first, ...more]) {
      await waitFor(async () => (await publishedKeys(replica))[0]?.kid === next?.kid, {
        what: "every replica to follow the rotation",
      });
    }
    const keys = await publishedKeys(first);
    expect(keys.length).toBe(3);
    const { rows } = await database.query<{ n: string }>("SELECT count(*) AS n FROM signing_keys");
    expect(rows).toEqual([{ n: "3" }]);
    await database.query(
      "UPDATE signing_keys SET tokens_end_at = now() - interval '1 s' WHERE state = 'previous'",
    );
    const cleaner = await aged.start(config);
    await waitFor(
      async () => (await publishedKeys(cleaner)).every((key) => key.kid !== keys[2]?.kid),
      {
        what: "the ended key to go",
      },
    );
    await database.close();
    await aged.close();
  });
});

describe("the root key", () => {
  it("must be the one of the stored keys", async () => {
    const wrong = Buffer.alloc(32, 7).toString("base64");
    expect(wrong).not.toBe(KEY);
    expect(await outcome(fleet.start({ rootKey: wrong }))).toBe("data_loss/SEALED_KEY_UNREADABLE");
  });
});

async function follow(replica: Replica): Promise<ClosableTokenVerifier> {
  return createTokenVerifier({
    vault: replica.channel,
    tokens: createServiceTokenSource({
      vault: replica.channel,
      principalId: "registry",
      clientSecret: REGISTRY_SECRET,
    }),
    logger: createSilentLogger(),
  });
}
