import { createPool, type Pool } from "@nexus/postgres";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  createAgent,
  createFleet,
  createUser,
  type Fleet,
  failure,
  grant,
  login,
  outcome,
  type Replica,
  type Session,
} from "./_helpers.ts";

let fleet: Fleet;
let vault: Replica;
let other: Replica;
let admin: Session;
let pool: Pool;

beforeAll(async () => {
  fleet = await createFleet();
  vault = await fleet.start();
  other = await fleet.start();
  admin = await login(vault);
  pool = createPool({ url: fleet.database.url, max: 2, applicationName: "test", schema: "vault" });
});

afterAll(async () => {
  await pool.close();
  await fleet.close();
});

const REFUSED = "unauthenticated/CREDENTIALS_INVALID";
const PASSWORD = "a password of a user";

async function fail(principalId: string, times: number): Promise<void> {
  for (let i = 0; i < times; i++) {
    const replica = i % 2 === 0 ? vault : other;
    expect(await outcome(replica.auth.login({ principalId, password: "wrong" }))).toBe(REFUSED);
  }
}

interface Count {
  readonly failures: number;
  readonly lockMs: number | null;
}

/** The only counts there are: each test forgets those of the others. */
async function counts(): Promise<Count[]> {
  const { rows } = await pool.query<Count>(
    `SELECT failures, round(extract(epoch FROM locked_until - failed_at) * 1000)::integer AS "lockMs"
     FROM login_failures ORDER BY failures`,
  );
  return rows;
}

async function forgetAll(): Promise<void> {
  await pool.query("DELETE FROM login_failures");
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
    await pool.query("UPDATE login_failures SET locked_until = clock_timestamp()");
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
    const { principalId } = await createUser(vault, admin);
    const time = async (id: string) => {
      const startedAt = performance.now();
      await outcome(vault.auth.login({ principalId: id, password: "wrong" }));
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
      await pool.query("UPDATE login_failures SET locked_until = clock_timestamp()");
    }
  });

  it("begins anew after a right password, and a day after the last failure", async () => {
    await forgetAll();
    const { principalId } = await createUser(vault, admin);
    await fail(principalId, 4);
    await login(vault, principalId, PASSWORD);
    await fail(principalId, 4);
    expect(await counts()).toEqual([{ failures: 4, lockMs: null }]);
    await pool.query("UPDATE login_failures SET failed_at = failed_at - interval '25 hours'");
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
      "SELECT login_failures::text || encode(name_digest, 'escape') AS row FROM login_failures",
    );
    expect(rows).toHaveLength(1);
    expect(rows[0]?.row).not.toContain("secret");
  });
});
