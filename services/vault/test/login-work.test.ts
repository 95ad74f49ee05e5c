/** What a refused login costs, counted and not timed: who may not log in must not tell by its work why. */
import crypto, { randomBytes } from "node:crypto";
import { syncBuiltinESMExports } from "node:module";
import { createPool, type Pool } from "@nexus/postgres";
import { parseNamespace, parsePrincipalId } from "@nexus/shared";
import { createTestDatabase, type TestDatabase } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AdmissionGate } from "../src/domain/admission-gate.ts";
import { AuthManager, type AuthManagerOptions } from "../src/domain/auth-manager.ts";
import { CryptoManager } from "../src/domain/crypto-manager.ts";
import { formatPasswordHash, hashPassword } from "../src/domain/password-hash.ts";
import { Peppers } from "../src/domain/peppers.ts";
import type { LoginName } from "../src/domain/ports.ts";
import { createBoxStore } from "../src/store/box-store.ts";
import { createLoginFailureStore } from "../src/store/login-failure-store.ts";
import { createPrincipalStore, type PrincipalStore } from "../src/store/principal-store.ts";
import { outcome } from "./_helpers.ts";

const ITERATIONS = 5_000;
const LOCK_FAILURES = 3;
const PASSWORD = "the right password";
const REFUSED = "unauthenticated/CREDENTIALS_INVALID";
const DIGEST_KEY = "digest-key/1";
/** Of the fourth pepper, the third is still accepted. */
const PEPPER_VERSION = 4;
const namespace = parseNamespace("default");

/** What one call did, in order. */
interface Work {
  readonly iterations: number[];
  readonly hashes: string[];
  readonly statements: string[];
}

let database: TestDatabase;
let pool: Pool;
let store: PrincipalStore;
let auth: AuthManager;
/** The name of each login is locked by guesses that run beside it, after it was looked at. */
let overtaken: AuthManager;
let work: Work = { iterations: [], hashes: [], statements: [] };

const { pbkdf2 } = crypto;
const counted = ((...args: Parameters<typeof pbkdf2>) => {
  const [, salt, iterations, lengthBytes, digest] = args;
  work.iterations.push(iterations);
  work.hashes.push(`${digest}/${lengthBytes}/${Buffer.from(salt as Uint8Array).byteLength}`);
  pbkdf2(...args);
}) as typeof pbkdf2;

/** A pool that notes what it is asked. */
function countedPool(inner: Pool): Pool {
  return {
    ...inner,
    query: (statement, values) => {
      const text = typeof statement === "string" ? statement : statement.text;
      work.statements.push(text.trim().replaceAll(/\s+/g, " ").slice(0, 60));
      return inner.query(statement, values);
    },
  };
}

beforeAll(async () => {
  database = await createTestDatabase("vault");
  pool = createPool({ url: database.url, max: 2, applicationName: "test", schema: "vault" });
  const asked = countedPool(pool);
  const boxes = createBoxStore(asked);
  const peppers = new Peppers({ current: PEPPER_VERSION, boxes });
  const gate = new AdmissionGate({
    concurrency: 1,
    queueMax: 1,
    expectedMs: 1,
    nowMs: () => performance.now(),
  });
  const keys = { keyEncryptionKey: undefined, passwordIterations: ITERATIONS };
  const manager = new CryptoManager({ ...keys, peppers, gate });
  manager.useBoxKeys(new Map([[1, randomBytes(32)]]));
  // As if the third had been in use.
  const before = `password-pepper/${PEPPER_VERSION - 1}`;
  await boxes.ensure(before, () => manager.newSealedDigestKey(before));
  const digestKey = await boxes.ensure(DIGEST_KEY, () => manager.newSealedDigestKey(DIGEST_KEY));
  await manager.useSealedDigestKey(DIGEST_KEY, digestKey);
  store = createPrincipalStore(asked);
  const nothing = () => undefined;
  const policy = {
    failures: LOCK_FAILURES,
    nameFailures: 1_000,
    lockMs: 60_000,
    lockMaxMs: 60_000,
  };
  const failures = createLoginFailureStore(asked, policy);
  // A refusal needs no more than this; whatever else it touched would fail here.
  const needed = {
    principals: store,
    failures,
    crypto: manager,
    events: { proofRefused: nothing, loginLocked: nothing },
  };
  auth = new AuthManager(needed as unknown as AuthManagerOptions);
  const beside = {
    ...failures,
    async isLocked(name: LoginName) {
      const isLocked = await failures.isLocked(name);
      for (let count = 0; count < LOCK_FAILURES; count++) await failures.add(name);
      return isLocked;
    },
  };
  overtaken = new AuthManager({ ...needed, failures: beside } as unknown as AuthManagerOptions);
  const pepper = peppers.current;
  const previous = await peppers.find(PEPPER_VERSION - 1);
  if (pepper === undefined || previous === undefined) throw new Error("There is no pepper.");
  const iterations = ITERATIONS;
  const newest = await hashPassword(PASSWORD, { iterations, pepper });
  await addUser("user", newest);
  await addUser("locked", newest);
  await addUser("overtaken", newest);
  await addUser("disabled", newest);
  await pool.query("UPDATE principals SET disabled = true WHERE principal_id = 'disabled'");
  await addUser("older", await hashPassword(PASSWORD, { iterations, pepper: previous }));
  await addUser("weaker", await hashPassword(PASSWORD, { iterations: ITERATIONS / 5, pepper }));
  await addUser("stronger", await hashPassword(PASSWORD, { iterations: ITERATIONS * 2, pepper }));
  await addUser("plain", await hashPassword(PASSWORD, { iterations }));
  const random = { salt: randomBytes(16), derived: randomBytes(32) };
  await addUser("retired", formatPasswordHash({ ...random, iterations, pepper: 1 }));
  await addUser("unreadable", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA");
  const secretDigest = randomBytes(32);
  for (const kind of ["agent", "service"] as const) {
    const principalId = parsePrincipalId(kind);
    await store.insertIfAbsent({ namespace, principalId, kind, scopes: [], secretDigest });
  }
  for (const name of ["locked", "nobody-locked"]) {
    for (let count = 0; count < LOCK_FAILURES; count++) await attempt(name, "wrong");
  }
  crypto.pbkdf2 = counted;
  syncBuiltinESMExports();
});

afterAll(async () => {
  crypto.pbkdf2 = pbkdf2;
  syncBuiltinESMExports();
  await store.close();
  await pool.close();
  await database.close();
});

async function addUser(principal: string, passwordHash: string): Promise<void> {
  const principalId = parsePrincipalId(principal);
  await store.insertIfAbsent({ namespace, principalId, kind: "user", scopes: [], passwordHash });
}

function attempt(principalId: string, password: string): Promise<string> {
  return outcome(auth.login({ namespace, principalId: parsePrincipalId(principalId), password }));
}

async function workOf(call: () => Promise<string>): Promise<Work> {
  work = { iterations: [], hashes: [], statements: [] };
  expect(await call()).toBe(REFUSED);
  return work;
}

describe("a login that is refused", () => {
  it.each([
    ["an unknown name", "nobody", "wrong"],
    ["a locked name with the right password", "locked", PASSWORD],
    ["a locked name with a wrong one", "locked", "wrong"],
    ["a locked name that nobody has", "nobody-locked", "wrong"],
    ["a disabled user with the right password", "disabled", PASSWORD],
    ["an agent, which has no password", "agent", "wrong"],
    ["a service, which has none either", "service", "wrong"],
    ["a hash under the pepper before", "older", "wrong"],
    ["a hash without a pepper", "plain", "wrong"],
    ["a hash under a pepper that is not accepted any more", "retired", PASSWORD],
    ["a hash that cannot be read", "unreadable", PASSWORD],
  ])("does for %s the very work of a wrong password", async (_what, principalId, password) => {
    const wrong = await workOf(() => attempt("user", "wrong"));
    expect(wrong.iterations).toEqual([ITERATIONS]);
    expect(wrong.hashes).toEqual(["sha256/32/16"]);
    expect(wrong.statements).toHaveLength(3);
    expect(await workOf(() => attempt(principalId, password))).toEqual(wrong);
    await pool.query("DELETE FROM login_counts WHERE locked_until IS NULL");
  });

  it("makes up for a hash of fewer iterations, with the same statements", async () => {
    const wrong = await workOf(() => attempt("user", "wrong"));
    const weaker = await workOf(() => attempt("weaker", "wrong"));
    expect(weaker.iterations).toEqual([ITERATIONS / 5, (ITERATIONS / 5) * 4]);
    expect(weaker.hashes).toEqual([...wrong.hashes, ...wrong.hashes]);
    expect(weaker.statements).toEqual(wrong.statements);
  });

  it("costs a hash of more iterations its own, which the configuration says", async () => {
    const stronger = await workOf(() => attempt("stronger", "wrong"));
    expect(stronger.iterations).toEqual([ITERATIONS * 2]);
  });
});

describe("a right password", () => {
  it("is worth nothing when guesses beside it have locked the name meanwhile", async () => {
    const proof = { namespace, principalId: parsePrincipalId("overtaken"), password: PASSWORD };
    expect(await outcome(overtaken.login(proof))).toBe(REFUSED);
    expect(await outcome(auth.login(proof))).toBe(REFUSED);
    await pool.query("DELETE FROM login_counts WHERE locked_until IS NOT NULL");
    // Let through, it goes on to what this test does not have.
    await expect(auth.login(proof)).rejects.toThrow(TypeError);
  });
});

describe("a grant that is refused", () => {
  it.each([
    ["an unknown name", "nobody"],
    ["a user, who has no secret", "user"],
    ["a disabled principal", "disabled"],
  ])("does for %s the statements of a wrong secret, and no password hash", async (_what, name) => {
    const grant = (principalId: string) =>
      outcome(
        auth.grantClientToken({
          namespace,
          principalId: parsePrincipalId(principalId),
          clientSecret: "nxs_wrong",
        }),
      );
    const wrong = await workOf(() => grant("agent"));
    expect([wrong.iterations, wrong.statements]).toEqual([[], [expect.stringMatching(/^SELECT/)]]);
    expect(await workOf(() => grant(name))).toEqual(wrong);
  });
});
