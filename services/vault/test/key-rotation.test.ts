import { KeyVersionState } from "@nexus/proto/vault";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createUser, login, outcome, type Replica, requestId, type Session } from "./_helpers.ts";
import { openTenantSuite, type TenantSuite } from "./_suite.ts";
import { createKey, createPlainKey, decrypt, encrypt } from "./_transit.ts";

let { fleet, vault, other, admin, tenant, pool, close } = {} as TenantSuite;

beforeAll(async () => {
  ({ fleet, vault, other, admin, tenant, pool, close } = await openTenantSuite("team-keys"));
});

afterAll(() => close());

const get = async (name: string, caller = admin) => (await vault.keys.getKey({ name }, caller)).key;
const versionOf = (ciphertext: string) => ciphertext.split(":")[1];
const rotate = (name: string, caller = admin) =>
  vault.keys.rotateKey({ requestId: requestId(), name }, caller);

describe("RotateKey", () => {
  it("makes one version for all retries; older ones go on decrypting, on every replica at once", async () => {
    const { name } = await createKey(vault, admin);
    const before = await encrypt(vault, admin, name);
    const request = { requestId: requestId(), name };
    const { key } = await vault.keys.rotateKey(request, admin);
    expect(key?.latestVersion).toBe(2);
    expect((await vault.keys.rotateKey(request, admin)).key).toEqual(key);
    const after = await encrypt(vault, admin, name);
    expect([versionOf(before), versionOf(after)]).toEqual(["v1", "v2"]);
    // The other replica may not have heard of the version yet; it asks then.
    expect(await decrypt(other, admin, name, after)).toBe("a secret");
    expect(await decrypt(other, admin, name, before)).toBe("a secret");
    const { versions } = await vault.keys.listKeyVersions({ name }, admin);
    expect(versions.map(({ version, state }) => [version, state])).toEqual([
      [2, KeyVersionState.ACTIVE],
      [1, KeyVersionState.DECRYPT_ONLY],
    ]);
  });

  it("never holds up or fails a use, however many rotate at once", async () => {
    const { name } = await createKey(vault, admin);
    const stop = new AbortController();
    const failures: string[] = [];
    let uses = 0;
    const use = async (replica: Replica) => {
      while (!stop.signal.aborted) {
        const work = encrypt(replica, admin, name).then((text) =>
          decrypt(vault, admin, name, text),
        );
        const ended = await outcome(work);
        if (ended !== "ok") failures.push(ended);
        uses++;
      }
    };
    const load = Promise.all([use(vault), use(other)]);
    for (let round = 0; round < 5; round++) {
      await Promise.all([
        rotate(name),
        other.keys.rotateKey({ requestId: requestId(), name }, admin),
      ]);
    }
    stop.abort();
    await load;
    expect(failures).toEqual([]);
    expect(uses).toBeGreaterThan(10);
    expect((await get(name))?.latestVersion).toBe(11);
  });

  it("is made by age, once however many replicas see that it is due", async () => {
    const { name } = await createKey(vault, admin, { rotationPeriod: { seconds: 3600n } });
    await pool.query(
      "UPDATE named_keys SET rotated_at = rotated_at - interval '2 hours' WHERE name = $1",
      [name],
    );
    // The loops of two new replicas run their first step at once.
    const fresh = await Promise.all([fleet.start(), fleet.start()]);
    await waitFor(async () => (await get(name))?.latestVersion === 2, { what: "the rotation" });
    const { versions } = await vault.keys.listKeyVersions({ name }, admin);
    expect(versions.length).toBe(2);
    for (const replica of fresh) await replica.stop();
  });

  it("is made by age for all that are due, however many of them cannot be rotated", async () => {
    const team = await createUser(vault, admin, { scopes: ["*"], namespace: "team-spent" });
    const rotationPeriod = { seconds: 3600n };
    for (let spent = 0; spent < 60; spent++) await createKey(vault, team, { rotationPeriod });
    const { name } = await createKey(vault, admin, { rotationPeriod });
    await pool.query(
      `UPDATE named_keys SET rotated_at = rotated_at - interval '1 day', latest_version = 10000
       WHERE namespace = 'team-spent'`,
    );
    await pool.query(
      "UPDATE named_keys SET rotated_at = rotated_at - interval '2 hours' WHERE name = $1",
      [name],
    );
    const fresh = await fleet.start();
    await waitFor(async () => (await get(name))?.latestVersion === 2, { what: "the rotation" });
    await fresh.stop();
  });

  it("is made by number of uses, and not for a disabled key", async () => {
    const { name } = await createKey(vault, admin, { maxUses: 32n });
    const made = await Promise.all(Array.from({ length: 30 }, () => encrypt(vault, admin, name)));
    expect(new Set(made.map(versionOf))).toEqual(new Set(["v1"]));
    for (let use = 0; use < 4; use++) await encrypt(vault, admin, name);
    await waitFor(async () => (await get(name))?.latestVersion === 2, { what: "the rotation" });
    await vault.keys.disableKey({ requestId: requestId(), name }, admin);
    expect(await outcome(rotate(name))).toBe("precondition/KEY_DISABLED");
  });
});

describe("RotateNamespaceKey", () => {
  it("leaves out a version that does not open, and moves those behind it", async () => {
    const team = await createUser(vault, admin, { scopes: ["*"], namespace: "team-damaged" });
    const damaged = await createKey(vault, team);
    const behind = await createKey(vault, team);
    await pool.query(
      "UPDATE key_versions SET box = decode(repeat('00', 40), 'hex') WHERE key_id = $1",
      [[damaged.keyId, behind.keyId].sort()[0]],
    );
    await vault.keys.rotateNamespaceKey({ requestId: requestId() }, team);
    await waitFor(async () => (await vault.keys.getRewrapProgress({}, team)).remaining === 1n, {
      what: "the version that opens to be moved",
    });
    await pool.query(
      "UPDATE key_versions SET box = NULL, tenant_key_version = NULL WHERE namespace = 'team-damaged'",
    );
  });

  it("rewraps every version in the background, with progress, while all goes on", async () => {
    const team = await createUser(vault, admin, { scopes: ["*"], namespace: "team-rewrap" });
    expect(await vault.keys.getRewrapProgress({}, team)).toMatchObject({
      namespaceKeyVersion: 0,
      total: 0n,
      remaining: 0n,
    });
    const { name } = await createKey(vault, team);
    const plain = await createPlainKey(vault, team);
    for (let version = 2; version <= 4; version++) await rotate(name, team);
    const text = await encrypt(vault, team, name);
    const request = { requestId: requestId() };
    expect((await vault.keys.rotateNamespaceKey(request, team)).version).toBe(2);
    expect((await vault.keys.rotateNamespaceKey(request, team)).version).toBe(2);
    const progress = await vault.keys.getRewrapProgress({}, team);
    expect(progress).toMatchObject({ namespaceKeyVersion: 2, total: 5n });
    await waitFor(async () => (await vault.keys.getRewrapProgress({}, team)).remaining === 0n, {
      what: "the rewrap",
    });
    await waitFor(async () => (await tenantKeyVersions("team-rewrap")).join() === "2", {
      what: "the old namespace key to go",
    });
    const fresh = await fleet.start();
    expect(await decrypt(fresh, team, name, text)).toBe("a secret");
    expect(await outcome(encrypt(fresh, team, plain.name))).toBe("ok");
    await fresh.stop();
  });

  it("fails no key that is made while the namespace key under it goes", async () => {
    const team = await createUser(vault, admin, { scopes: ["*"], namespace: "team-race" });
    // As if the namespace key had gone before the first insert; the sequence remembers over the rollback.
    await pool.query(`
      CREATE SEQUENCE race;
      CREATE FUNCTION lose_race() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        IF nextval('vault.race') = 1 THEN
          NEW.tenant_key_version := 99;
        END IF;
        RETURN NEW;
      END $$;
      CREATE TRIGGER lose_race BEFORE INSERT ON key_versions FOR EACH ROW
        WHEN (NEW.namespace = 'team-race') EXECUTE FUNCTION lose_race()`);
    const { name } = await createKey(vault, team);
    expect(await decrypt(vault, team, name, await encrypt(vault, team, name))).toBe("a secret");
    await pool.query("ALTER SEQUENCE race RESTART");
    expect((await rotate(name, team)).key?.latestVersion).toBe(2);
    await pool.query("DROP TRIGGER lose_race ON key_versions");
  });

  it("turns vault's own key for the namespace that administers the others, unnoticed", async () => {
    const call = (caller: Session) =>
      vault.keys.rotateNamespaceKey({ requestId: requestId(), system: true }, caller);
    expect(await outcome(call(tenant))).toBe("forbidden/NAMESPACE_FORBIDDEN");
    expect((await call(admin)).version).toBe(2);
    await waitFor(
      async () => {
        const { rows } = await pool.query<{ old: number }>(
          "SELECT count(*)::integer AS old FROM sealed_keys WHERE box_key_version < 2",
        );
        return rows[0]?.old === 0;
      },
      { what: "vault's own boxes to be sealed anew" },
    );
    const fresh = await fleet.start();
    expect(await outcome(login(fresh))).toBe("ok");
    await fresh.stop();
  });
});

async function tenantKeyVersions(namespace: string): Promise<number[]> {
  const { rows } = await pool.query<{ version: number }>(
    "SELECT version FROM tenant_keys WHERE namespace = $1 ORDER BY version",
    [namespace],
  );
  return rows.map(({ version }) => version);
}
