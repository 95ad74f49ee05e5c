import { CLIENT_ADDRESS_HEADER } from "@nexus/rpc";
import { parseNamespace } from "@nexus/shared";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PASSWORD_ITERATIONS_MIN } from "../src/domain/password-hash.ts";
import { createLoginFailureStore } from "../src/store/login-failure-store.ts";
import { ACTION, entriesOf, sequenced } from "./_audit.ts";
import {
  createAgent,
  createUser,
  failure,
  grant,
  login,
  outcome,
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
const PASSWORD = "a password of a user";

/** As the gateway says where it had a call from. */
const from = (host: string) => ({ metadata: { [CLIENT_ADDRESS_HEADER]: `${host}:40000` } });

async function fail(principalId: string, times: number, host?: string): Promise<void> {
  const options = host === undefined ? {} : from(host);
  for (let i = 0; i < times; i++) {
    const { auth } = i % 2 === 0 ? vault : other;
    expect(await outcome(auth.login({ principalId, password: "wrong" }, options))).toBe(REFUSED);
  }
}

const loginFrom = (host: string, principalId: string) =>
  outcome(vault.auth.login({ principalId, password: PASSWORD }, from(host)));

interface Count {
  readonly failures: number;
  readonly lockMs: number | null;
}

/** The only counts there are: each test forgets those of the others. */
async function counts(): Promise<Count[]> {
  const { rows } = await pool.query<Count>(
    `SELECT failures, round(extract(epoch FROM locked_until - failed_at) * 1000)::integer AS "lockMs"
     FROM login_counts WHERE address <> '*' ORDER BY failures`,
  );
  return rows;
}

async function forgetAll(): Promise<void> {
  await pool.query("DELETE FROM login_counts");
}

describe("a login name", () => {
  it("is locked by five failures on any replicas, for the right password too, and opens by itself", async () => {
    await forgetAll();
    const { principalId } = await createUser(vault, admin);
    await fail(principalId, 5);
    expect(await counts()).toEqual([{ failures: 5, lockMs: 900_000 }]);
    expect(await outcome(login(vault, principalId, PASSWORD))).toBe(REFUSED);
    // Trying on neither counts nor lengthens the lock.
    expect(await counts()).toEqual([{ failures: 5, lockMs: 900_000 }]);
    await pool.query("UPDATE login_counts SET locked_until = clock_timestamp()");
    expect(await outcome(login(vault, principalId, PASSWORD))).toBe("ok");
    expect(await counts()).toEqual([]);
  });

  it("answers an unknown, a locked and a wrong one alike", async () => {
    await forgetAll();
    const { principalId } = await createUser(vault, admin);
    const wrong = await failure(vault.auth.login({ principalId, password: "wrong" }));
    await fail(principalId, 4);
    await fail("nobody-there", 5);
    const same = await Promise.all([
      failure(vault.auth.login({ principalId, password: PASSWORD })),
      failure(vault.auth.login({ principalId: "nobody-there", password: PASSWORD })),
    ]);
    for (const error of same) {
      const { kind, reason, message, details } = error;
      expect({ kind, reason, message, details }).toEqual({
        kind: wrong.kind,
        reason: wrong.reason,
        message: wrong.message,
        details: wrong.details,
      });
    }
    // Whether anybody has the name changes nothing about its count.
    expect(await counts()).toEqual([
      { failures: 5, lockMs: 900_000 },
      { failures: 5, lockMs: 900_000 },
    ]);
  });

  it("costs as much to try when it is locked", async () => {
    await forgetAll();
    const slow = await fleet.start({ passwordIterations: PASSWORD_ITERATIONS_MIN });
    const { principalId } = await createUser(slow, admin);
    const time = async (id: string) => {
      const startedAt = performance.now();
      await outcome(slow.auth.login({ principalId: id, password: "wrong" }));
      return performance.now() - startedAt;
    };
    await fail(principalId, 5);
    const locked: number[] = [];
    const open: number[] = [];
    for (let i = 0; i < 4; i++) {
      locked.push(await time(principalId));
      open.push(await time("never-tried-before"));
    }
    // A missing hash would make the difference tenfold; the machine's noise does not.
    const ratio = Math.min(...locked) / Math.min(...open);
    expect(ratio).toBeGreaterThan(0.4);
    expect(ratio).toBeLessThan(2.5);
    await slow.stop();
  });

  it("has one count in capitals, with spaces and in any Unicode form", async () => {
    await forgetAll();
    const { principalId } = await createUser(vault, admin, { principalId: "alice.k" });
    // A Kelvin sign, full-width letters and a no-break space are the same name too.
    const spellings = ["Alice.k", " alice.k", "ALICE.K\t", "alice.\u212a", "\uff41lice.k\u00a0"];
    for (const spelling of spellings) await fail(spelling, 1);
    expect(await counts()).toEqual([{ failures: 5, lockMs: 900_000 }]);
    expect(await outcome(login(vault, principalId, PASSWORD))).toBe(REFUSED);
    await forgetAll();
    expect(await outcome(login(vault, " ALICE.k ", PASSWORD))).toBe("ok");
  });

  it("is locked longer each time, to at most an hour", async () => {
    await forgetAll();
    const expected = [900_000, 1_800_000, 3_600_000, 3_600_000];
    await fail("nobody-again", 4);
    for (const lockMs of expected) {
      await fail("nobody-again", 1);
      expect((await counts())[0]?.lockMs).toBe(lockMs);
      await pool.query("UPDATE login_counts SET locked_until = clock_timestamp()");
    }
  });

  it("begins anew after a right password, and a day after the first failure", async () => {
    await forgetAll();
    const { principalId } = await createUser(vault, admin);
    await fail(principalId, 4);
    await login(vault, principalId, PASSWORD);
    await fail(principalId, 4);
    expect(await counts()).toEqual([{ failures: 4, lockMs: null }]);
    await pool.query("UPDATE login_counts SET counted_since = counted_since - interval '25 hours'");
    await fail(principalId, 1);
    expect(await counts()).toEqual([{ failures: 1, lockMs: null }]);
  });

  it("lets no more guesses through by making them at once", async () => {
    await forgetAll();
    const { principalId } = await createUser(vault, admin);
    const guesses = Array.from({ length: 16 }, (_, i) =>
      outcome((i % 2 === 0 ? vault : other).auth.login({ principalId, password: `guess ${i}` })),
    );
    expect(new Set(await Promise.all(guesses))).toEqual(new Set([REFUSED]));
    expect(await counts()).toEqual([{ failures: 5, lockMs: 900_000 }]);
    expect(await outcome(login(vault, principalId, PASSWORD))).toBe(REFUSED);
  });

  it("is not locked by right passwords, however many at once", async () => {
    await forgetAll();
    const { principalId } = await createUser(vault, admin);
    await fail(principalId, 4);
    const ended = await Promise.all(
      Array.from({ length: 12 }, () => outcome(login(vault, principalId, PASSWORD))),
    );
    expect(new Set(ended)).toEqual(new Set(["ok"]));
  });

  it("locks no agent out: its secret cannot be guessed", async () => {
    await forgetAll();
    const agent = await createAgent(vault, admin);
    await fail(agent.principalId, 5);
    const { principalId, clientSecret } = agent;
    expect(await outcome(grant(vault, principalId, clientSecret))).toBe("ok");
  });

  it("is stored where nobody can read it", async () => {
    await forgetAll();
    await fail("my-secret-typed-into-the-wrong-field", 1);
    const { rows } = await pool.query<{ row: string }>(
      "SELECT c::text || encode(name_digest, 'escape') AS row FROM login_counts c",
    );
    expect(rows).toHaveLength(2);
    for (const { row } of rows) expect(row).not.toContain("secret");
  });
});

const STRANGER = "203.0.113.7";
const OWNER = "198.51.100.4";

describe("an address", () => {
  it("is locked out of a name alone, whatever it goes on to try", async () => {
    await forgetAll();
    const { principalId } = await createUser(vault, admin);
    await fail(principalId, 12, STRANGER);
    expect(await loginFrom(STRANGER, principalId)).toBe(REFUSED);
    expect(await loginFrom(OWNER, principalId)).toBe("ok");
    // The owner's success does not open the name to the stranger.
    expect(await loginFrom(STRANGER, principalId)).toBe(REFUSED);
  });

  it("is one for all of an IPv6 network", async () => {
    await forgetAll();
    const { principalId } = await createUser(vault, admin);
    for (let i = 0; i < 5; i++) await fail(principalId, 1, `2001:db8:0:7::${i}`);
    expect(await loginFrom("2001:db8:0:7::99", principalId)).toBe(REFUSED);
    expect(await loginFrom("2001:db8:0:8::99", principalId)).toBe("ok");
  });

  it("is the caller's own when what it says is none", async () => {
    await forgetAll();
    const { principalId } = await createUser(vault, admin);
    for (const said of ["*", "*:1", "", "junk", "all of them"]) {
      const options = { metadata: { [CLIENT_ADDRESS_HEADER]: said } };
      const guess = vault.auth.login({ principalId, password: "wrong" }, options);
      expect(await outcome(guess)).toBe(REFUSED);
    }
    expect(await counts()).toEqual([{ failures: 5, lockMs: 900_000 }]);
    const { auth } = vault;
    const options = { metadata: { [CLIENT_ADDRESS_HEADER]: "*" } };
    expect(await outcome(auth.login({ principalId, password: PASSWORD }, options))).toBe(REFUSED);
  });

  it("is never taken for all of them", async () => {
    await forgetAll();
    const policy = { failures: 2, nameFailures: 9, lockMs: 60_000, lockMaxMs: 60_000 };
    const store = createLoginFailureStore(pool, policy);
    const name = { namespace: parseNamespace("default"), digest: Buffer.from("x"), address: "*" };
    expect(await store.add(name)).toBe(false);
    expect(await store.add(name)).toBe(true);
    expect(await store.isLocked(name)).toBe(true);
    expect(await store.isLocked({ ...name, address: OWNER })).toBe(false);
    expect(await store.clear(name)).toBe(false);
  });

  it("adds to the count of the name only while it is not locked out of it", async () => {
    await forgetAll();
    await fail("nobody-everywhere", 9, STRANGER);
    await fail("nobody-everywhere", 2, OWNER);
    const { rows } = await pool.query("SELECT failures FROM login_counts WHERE address = '*'");
    expect(rows).toEqual([{ failures: 7 }]);
  });
});

describe("a name that is tried from many addresses", () => {
  it("is locked for all of them, known or not, and opens by itself", async () => {
    const few = await fleet.start({ lockoutNameFailures: 6 });
    await forgetAll();
    const { principalId } = await createUser(vault, admin);
    for (const name of [principalId, "nobody-at-all"]) {
      for (let i = 0; i < 6; i++) {
        const options = from(`203.0.113.${i}`);
        const guess = few.auth.login({ principalId: name, password: "wrong" }, options);
        expect(await outcome(guess)).toBe(REFUSED);
      }
    }
    const all = await pool.query(
      `SELECT failures, locked_until > clock_timestamp() AS locked FROM login_counts WHERE address = '*'`,
    );
    expect(all.rows).toEqual([
      { failures: 6, locked: true },
      { failures: 6, locked: true },
    ]);
    expect(await loginFrom(OWNER, principalId)).toBe(REFUSED);
    await pool.query("UPDATE login_counts SET locked_until = clock_timestamp()");
    expect(await loginFrom(OWNER, principalId)).toBe("ok");
  });
});

describe("UnlockPrincipal", () => {
  const unlock = (principalId: string, caller: Session = admin, id = requestId()) =>
    vault.principals.unlockPrincipal({ requestId: id, principalId }, caller);

  it("opens a locked name from everywhere, once per request id", async () => {
    await forgetAll();
    const { principalId } = await createUser(vault, admin);
    await fail(principalId, 5, STRANGER);
    await fail(principalId, 5, OWNER);
    const id = requestId();
    const { principal } = await unlock(principalId, admin, id);
    expect(principal?.principalId).toBe(principalId);
    expect(await loginFrom(OWNER, principalId)).toBe("ok");
    await fail(principalId, 5, OWNER);
    expect((await unlock(principalId, admin, id)).principal).toEqual(principal);
    expect(await loginFrom(OWNER, principalId)).toBe(REFUSED);
    await unlock(principalId);
    expect(await loginFrom(OWNER, principalId)).toBe("ok");
    await sequenced(pool);
    const action = ACTION("PrincipalService", "UnlockPrincipal");
    const entries = await entriesOf(vault, admin, { action, resource: principalId });
    expect(entries.map(({ actor }) => actor)).toEqual(["admin", "admin", "admin"]);
  });

  it("is part of a password's reset", async () => {
    await forgetAll();
    const { principalId } = await createUser(vault, admin);
    await fail(principalId, 5);
    const reset = { requestId: requestId(), principalId, password: "a new password" };
    await vault.principals.resetPassword(reset, admin);
    expect(await outcome(login(vault, principalId, "a new password"))).toBe("ok");
  });

  it("refuses nobody, an agent, oneself, a missing scope, who is more, and a reused id", async () => {
    const helper = await createUser(vault, admin, { scopes: ["vault:principal:unlock"] });
    const user = await createUser(vault, admin);
    const agent = await createAgent(vault, admin);
    expect(await outcome(unlock("nobody"))).toBe("not_found/PRINCIPAL_NOT_FOUND");
    expect(await outcome(unlock(agent.principalId))).toBe("precondition/PRINCIPAL_NOT_USER");
    expect(await outcome(unlock("admin", user))).toBe("forbidden/SCOPE_MISSING");
    expect(await outcome(unlock(helper.principalId, helper))).toBe(
      "precondition/PRINCIPAL_IS_CALLER",
    );
    expect(await outcome(unlock("admin", helper))).toBe("forbidden/SCOPE_ESCALATION");
    const id = requestId();
    expect(await outcome(unlock(user.principalId, admin, id))).toBe("ok");
    expect(await outcome(unlock(helper.principalId, admin, id))).toBe("conflict/REQUEST_ID_REUSED");
  });
});
