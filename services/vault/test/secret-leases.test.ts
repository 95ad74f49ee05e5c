import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deleteEnded } from "../src/store/cleanup-store.ts";
import { createUser, outcome, requestId, type Session } from "./_helpers.ts";
import { freshPath, put } from "./_secrets.ts";
import { openTenantSuite, type TenantSuite } from "./_suite.ts";

let { vault, other, admin, tenant, pool, close } = {} as TenantSuite;

beforeAll(async () => {
  ({ vault, other, admin, tenant, pool, close } = await openTenantSuite("team-leases"));
});

afterAll(() => close());

const DAY_S = 86_400;

async function take(path: string, caller = admin, init: { version?: number; id?: string } = {}) {
  const { version = 0, id = requestId() } = init;
  const answer = await vault.secrets.leaseSecret({ requestId: id, path, version }, caller);
  if (answer.lease === undefined) throw new Error("no lease was returned");
  return { ...answer, lease: answer.lease };
}

const renew = (leaseId: string, caller = admin, seconds = 60) =>
  other.secrets.renewSecretLease({ leaseId, ttl: { seconds: BigInt(seconds) } }, caller);
const listed = async (prefix: string, caller: Session = admin) =>
  (await vault.secrets.listSecretLeases({ prefix }, caller)).leases.map(({ leaseId }) => leaseId);
const lifeS = ({ createTime, expireTime }: Awaited<ReturnType<typeof take>>["lease"]) =>
  Number((expireTime?.seconds ?? 0n) - (createTime?.seconds ?? 0n));
const over = "not_found/SECRET_LEASE_NOT_FOUND";

describe("LeaseSecret", () => {
  it("returns the value and one lease for all retries, which every replica knows", async () => {
    const path = freshPath();
    await put(vault, admin, path, { text: "old" });
    const id = requestId();
    const { lease, value, version } = await take(path, admin, { id });
    expect(Buffer.from(value).toString()).toBe("old");
    expect(version?.version).toBe(1);
    expect(lease).toMatchObject({ path, version: 1, principalId: "admin" });
    expect(lifeS(lease)).toBe(3600);
    await put(vault, admin, path, { text: "new" });
    // The same lease, so the same version, though there is a newer one.
    const again = await take(path, admin, { id });
    expect(again.lease).toEqual(lease);
    expect(Buffer.from(again.value).toString()).toBe("old");
    expect(again.latestVersion).toBe(2);
    expect(await listed(path)).toEqual([lease.leaseId]);
    const renewed = await renew(lease.leaseId);
    expect(renewed.latestVersion).toBe(2);
    expect(lifeS(renewed.lease ?? lease)).toBeLessThan(3600);
    await vault.secrets.releaseSecretLease({ leaseId: lease.leaseId }, admin);
    expect(await outcome(take(path, admin, { id }))).toBe(over);
  });

  it("refuses what GetSecret refuses, and takes no lease then", async () => {
    const path = freshPath();
    expect(await outcome(take(path))).toBe("not_found/SECRET_NOT_FOUND");
    await put(vault, admin, path);
    expect(await outcome(take(path, admin, { version: 2 }))).toBe(
      "not_found/SECRET_VERSION_NOT_FOUND",
    );
    await vault.secrets.deleteSecretVersions({ requestId: requestId(), path }, admin);
    expect(await outcome(take(path))).toBe("precondition/SECRET_DELETED");
    expect(await listed(path)).toEqual([]);
  });

  it("refuses more than 1000 leases on a secret", async () => {
    const path = freshPath();
    await put(vault, admin, path);
    const { lease } = await take(path);
    await pool.query(
      `INSERT INTO secret_leases (lease_id, namespace, secret_id, version, path, principal_id, expires_at)
       SELECT 'filler-' || n, namespace, secret_id, version, path, 'x', expires_at
       FROM secret_leases, generate_series(1, 999) n WHERE lease_id = $1`,
      [lease.leaseId],
    );
    expect(await outcome(take(path))).toBe("exhausted/SECRET_LEASE_LIMIT");
    await vault.secrets.releaseSecretLease({ leaseId: lease.leaseId }, admin);
    expect(await outcome(take(path))).toBe("ok");
  });
});

describe("a lease", () => {
  it("is over by the database's clock, and then as good as none", async () => {
    const path = freshPath();
    await put(vault, admin, path);
    const { lease } = await take(path);
    await pool.query(
      "UPDATE secret_leases SET expires_at = clock_timestamp() WHERE lease_id = $1",
      [lease.leaseId],
    );
    expect(await outcome(renew(lease.leaseId))).toBe(over);
    expect(await listed(path)).toEqual([]);
    await deleteEnded(pool, new AbortController().signal);
    const { rowCount } = await pool.query("SELECT FROM secret_leases WHERE lease_id = $1", [
      lease.leaseId,
    ]);
    expect(rowCount).toBe(0);
  });

  it("is its holder's: nobody else renews or releases it by its id", async () => {
    const path = freshPath();
    await put(vault, admin, path);
    const { lease } = await take(path);
    const thief = await createUser(vault, admin, { scopes: ["*"] });
    for (const caller of [thief, tenant]) {
      expect(await outcome(renew(lease.leaseId, caller))).toBe(over);
      await vault.secrets.releaseSecretLease({ leaseId: lease.leaseId }, caller);
    }
    expect(await outcome(renew(lease.leaseId))).toBe("ok");
  });

  it("lasts no longer than its version, and no renewal takes it beyond 30 days", async () => {
    const path = freshPath();
    await put(vault, admin, path, { ttl: { seconds: 30n } });
    const { lease } = await take(path);
    expect(lifeS(lease)).toBeLessThanOrEqual(30);
    expect(lifeS((await renew(lease.leaseId, admin, DAY_S)).lease ?? lease)).toBeLessThanOrEqual(
      30,
    );
    const other = freshPath();
    await put(vault, admin, other);
    const old = (await take(other)).lease;
    await pool.query(
      "UPDATE secret_leases SET created_at = created_at - interval '29.5 days' WHERE lease_id = $1",
      [old.leaseId],
    );
    const renewed = await renew(old.leaseId, admin, DAY_S);
    expect(lifeS(renewed.lease ?? old)).toBe(30 * DAY_S);
  });

  it.each(["deleteSecretVersions", "destroySecretVersions"] as const)(
    "ends with %s of its version, and of no other",
    async (call) => {
      const path = freshPath();
      await put(vault, admin, path);
      await put(vault, admin, path);
      const first = (await take(path, admin, { version: 1 })).lease;
      const second = (await take(path)).lease;
      await vault.secrets[call]({ requestId: requestId(), path, versions: [1] }, admin);
      expect(await outcome(renew(first.leaseId))).toBe(over);
      expect(await outcome(renew(second.leaseId))).toBe("ok");
      await vault.secrets.destroySecret({ requestId: requestId(), path }, admin);
      expect(await outcome(renew(second.leaseId))).toBe(over);
    },
  );
});

describe("ListSecretLeases and RevokeSecretLeases", () => {
  it("see and end what begins with the prefix and the caller may, whoever holds it", async () => {
    const user = await createUser(vault, admin, {
      scopes: ["vault:secret:read", "secret:r-a:read"],
    });
    const leases: Record<string, string> = {};
    for (const path of ["r-a/1", "r-a/2", "r-b/1"]) {
      await put(vault, admin, path);
      leases[path] = (await take(path)).lease.leaseId;
    }
    leases["user"] = (await take("r-a/1", user)).lease.leaseId;
    await put(vault, tenant, "r-a/1");
    const foreign = (await take("r-a/1", tenant)).lease.leaseId;
    const order = [leases["r-a/1"], leases["r-a/2"], leases["r-b/1"], leases["user"]];
    expect(await listed("r-")).toEqual(order);
    const page = await vault.secrets.listSecretLeases(
      { prefix: "r-", page: { pageSize: 3 } },
      admin,
    );
    const pageToken = page.page?.nextPageToken ?? "";
    const rest = await vault.secrets.listSecretLeases({ prefix: "r-", page: { pageToken } }, admin);
    expect(rest.leases.map(({ leaseId }) => leaseId)).toEqual([leases["user"]]);

    const warden = await createUser(vault, admin, {
      scopes: ["vault:secret-lease:*", "secret:r-a:read", "secret:r-a:revoke"],
    });
    expect(await listed("", warden)).toEqual([leases["r-a/1"], leases["r-a/2"], leases["user"]]);
    const revoke = (prefix: string, caller: Session) =>
      other.secrets.revokeSecretLeases({ prefix }, caller);
    expect(await outcome(revoke("r-", user))).toBe("forbidden/SCOPE_MISSING");
    expect(await outcome(vault.secrets.listSecretLeases({}, user))).toBe("forbidden/SCOPE_MISSING");
    expect((await revoke("r-a/1", warden)).revoked).toBe(2n);
    expect(await outcome(renew(leases["user"] ?? "", user))).toBe(over);
    expect((await revoke("", warden)).revoked).toBe(1n);
    expect((await revoke("", warden)).revoked).toBe(0n);
    expect(await listed("r-")).toEqual([leases["r-b/1"]]);
    expect(await outcome(renew(foreign, tenant))).toBe("ok");
  });

  it("ends more than it takes at once", async () => {
    await put(vault, admin, "s-many/1");
    const { lease } = await take("s-many/1");
    await pool.query(
      `INSERT INTO secret_leases (lease_id, namespace, secret_id, version, path, principal_id, expires_at)
       SELECT 'many-' || n, namespace, secret_id, version, path, 'x', expires_at
       FROM secret_leases, generate_series(1, 1100) n WHERE lease_id = $1`,
      [lease.leaseId],
    );
    expect((await vault.secrets.revokeSecretLeases({ prefix: "s-many/" }, admin)).revoked).toBe(
      1101n,
    );
  });
});
