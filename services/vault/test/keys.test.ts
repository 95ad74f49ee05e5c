import { createPool, type Pool } from "@nexus/postgres";
import { KeyState, KeyType, KeyVersionState } from "@nexus/proto/vault";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  createFleet,
  createUser,
  type Fleet,
  failure,
  login,
  outcome,
  type Replica,
  requestId,
  type Session,
} from "./_helpers.ts";
import { CONTEXT, createKey, createPlainKey, decrypt, encrypt } from "./_transit.ts";

let fleet: Fleet;
let vault: Replica;
let other: Replica;
let admin: Session;
let tenant: Session;
let pool: Pool;

beforeAll(async () => {
  fleet = await createFleet();
  vault = await fleet.start();
  other = await fleet.start();
  admin = await login(vault);
  tenant = await createUser(vault, admin, { scopes: ["*"], namespace: "team-keys" });
  pool = createPool({ url: fleet.database.url, max: 2, applicationName: "test", schema: "vault" });
});

afterAll(async () => {
  await pool.close();
  await fleet.close();
});

const get = async (name: string, caller = admin) => (await vault.keys.getKey({ name }, caller)).key;
const versionOf = (ciphertext: string) => ciphertext.split(":")[1];
const rotate = (name: string, caller = admin) =>
  vault.keys.rotateKey({ requestId: requestId(), name }, caller);

describe("CreateKey", () => {
  it("makes an envelope key unless told otherwise, the same key for all retries", async () => {
    const request = { requestId: requestId(), name: "orders" };
    const { key } = await vault.keys.createKey(request, admin);
    expect(key).toMatchObject({
      name: "orders",
      type: KeyType.ENVELOPE,
      state: KeyState.ACTIVE,
      latestVersion: 1,
      minDecryptionVersion: 1,
      maxUses: 0n,
      deletionAllowed: false,
    });
    expect((await vault.keys.createKey(request, admin)).key).toEqual(key);
    expect(await get("orders")).toEqual(key);
    const reused = vault.keys.createKey({ ...request, name: "invoices" }, admin);
    expect(await outcome(reused)).toBe("conflict/REQUEST_ID_REUSED");
  });

  it("refuses a taken name, a bad one, and periods and counts that make no sense", async () => {
    await createKey(vault, admin, { name: "taken" });
    expect(await outcome(createKey(vault, admin, { name: "taken" }))).toBe("exists/KEY_EXISTS");
    const bad = [
      { name: "../up" },
      { name: "UPPER" },
      { rotationPeriod: { seconds: 3599n } },
      { maxUses: 15n },
      { maxUses: -1n },
      { type: 99 as KeyType },
      { expireTime: { seconds: 2n ** 62n, nanos: 0 } },
      { expireTime: { seconds: -(2n ** 62n), nanos: 0 } },
      { expireTime: { seconds: 1n, nanos: -1 } },
    ];
    for (const init of bad) {
      expect(await outcome(createKey(vault, admin, init))).toBe("invalid/REQUEST_INVALID");
    }
  });

  it("keeps namespaces apart: the same name is another key", async () => {
    const mine = await createKey(vault, admin, { name: "shared-name" });
    const theirs = await createKey(vault, tenant, { name: "shared-name" });
    expect(theirs.keyId).not.toBe(mine.keyId);
    const listed = await vault.keys.listKeys({}, tenant);
    expect(listed.keys.map(({ name }) => name)).toEqual(["shared-name"]);
    expect(await outcome(vault.keys.getKey({ name: "orders" }, tenant))).toBe(
      "not_found/KEY_NOT_FOUND",
    );
  });
});

describe("every method", () => {
  it("needs its scope, and a key of the caller's own namespace", async () => {
    const user = await createUser(vault, admin);
    const body = { requestId: requestId(), name: "orders" };
    const calls = (caller: Session) => [
      vault.keys.getKey({ name: "orders" }, caller),
      vault.keys.listKeyVersions({ name: "orders" }, caller),
      vault.keys.rotateKey(body, caller),
      vault.keys.updateKey(body, caller),
      vault.keys.disableKey(body, caller),
      vault.keys.enableKey(body, caller),
      vault.keys.destroyKey(body, caller),
    ];
    const more = (caller: Session) => [
      vault.keys.createKey(body, caller),
      vault.keys.listKeys({}, caller),
      vault.keys.rotateNamespaceKey(body, caller),
      vault.keys.getRewrapProgress({}, caller),
    ];
    const refused = await Promise.all([...calls(user), ...more(user)].map(outcome));
    expect(new Set(refused)).toEqual(new Set(["forbidden/SCOPE_MISSING"]));
    const unknown = await Promise.all(calls(tenant).map(outcome));
    expect(new Set(unknown)).toEqual(new Set(["not_found/KEY_NOT_FOUND"]));
  });

  it("returns no key material, whatever the type", async () => {
    for (const type of [
      KeyType.ENVELOPE,
      KeyType.PLAIN_GCM,
      KeyType.ED25519,
      KeyType.HMAC_SHA256,
    ]) {
      const key = await createKey(vault, admin, { type });
      const { versions } = await vault.keys.listKeyVersions({ name: key.name }, admin);
      const bytes = versions.map(({ publicKey }) => publicKey.byteLength);
      expect(bytes).toEqual([type === KeyType.ED25519 ? 32 : 0]);
    }
  });
});

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

describe("UpdateKey", () => {
  const update = (name: string, change: object, caller = admin) =>
    vault.keys.updateKey({ requestId: requestId(), name, ...change }, caller);

  it("changes what is set and nothing else", async () => {
    const { name } = await createKey(vault, admin, { maxUses: 1000n });
    const { key } = await update(name, {
      rotationPeriod: { seconds: 7200n },
      deletionAllowed: true,
    });
    expect(key).toMatchObject({ maxUses: 1000n, deletionAllowed: true });
    expect(key?.rotationPeriod?.seconds).toBe(7200n);
    const cleared = await update(name, { rotationPeriod: { seconds: 0n }, maxUses: 0n });
    expect(cleared.key).toMatchObject({ maxUses: 0n, deletionAllowed: true });
    expect(cleared.key?.rotationPeriod).toBeUndefined();
    const bad = [
      { maxUses: 3n },
      { rotationPeriod: { seconds: 60n } },
      { minDecryptionVersion: 0 },
      { expireTime: { seconds: 2n ** 62n, nanos: 0 } },
    ];
    for (const change of bad) {
      expect(await outcome(update(name, change))).toBe("invalid/REQUEST_INVALID");
    }
  });

  it("refuses versions below the minimum, on every replica within a second, until it is lowered", async () => {
    const { name } = await createKey(vault, admin);
    const old = await encrypt(vault, admin, name);
    await decrypt(other, admin, name, await encrypt(other, admin, name));
    await rotate(name);
    const fresh = await encrypt(vault, admin, name);
    await update(name, { minDecryptionVersion: 2, force: true });
    const tooOld = "precondition/KEY_VERSION_TOO_OLD";
    expect(await outcome(decrypt(vault, admin, name, old))).toBe(tooOld);
    expect(
      await outcome(
        vault.transit.rewrap({ keyName: name, ciphertext: old, context: CONTEXT }, admin),
      ),
    ).toBe(tooOld);
    await waitFor(async () => (await outcome(decrypt(other, admin, name, old))) === tooOld, {
      what: "the other replica to follow",
      timeoutMs: 1000,
    });
    expect(await decrypt(other, admin, name, fresh)).toBe("a secret");
    const { versions } = await vault.keys.listKeyVersions({ name }, admin);
    expect(versions[1]?.state).toBe(KeyVersionState.ARCHIVED);
    await update(name, { minDecryptionVersion: 1 });
    expect(await decrypt(vault, admin, name, old)).toBe("a secret");
    expect(await outcome(update(name, { minDecryptionVersion: 3 }))).toBe(
      "not_found/KEY_VERSION_NOT_FOUND",
    );
  });

  it("refuses to raise the minimum above a version that is in use, but not for a rewrap or by force", async () => {
    const { name } = await createKey(vault, admin);
    const old = await encrypt(vault, admin, name);
    await rotate(name);
    await vault.transit.rewrap({ keyName: name, ciphertext: old, context: CONTEXT }, admin);
    await update(name, { minDecryptionVersion: 2 });
    await update(name, { minDecryptionVersion: 1 });
    await decrypt(vault, admin, name, old);
    const refused = await failure(update(name, { minDecryptionVersion: 2 }));
    expect(refused).toMatchObject({
      reason: "KEY_VERSION_IN_USE",
      details: { metadata: { version: "1" } },
    });
    await update(name, { minDecryptionVersion: 2, force: true });
  });

  it("lets an expired key decrypt and verify, and nothing else", async () => {
    const { name } = await createKey(vault, admin);
    const text = await encrypt(vault, admin, name);
    await update(name, { expireTime: { seconds: 1n, nanos: 0 } });
    expect(await decrypt(vault, admin, name, text)).toBe("a secret");
    expect(await outcome(encrypt(vault, admin, name))).toBe("precondition/KEY_EXPIRED");
    const rewrap = vault.transit.rewrap(
      { keyName: name, ciphertext: text, context: CONTEXT },
      admin,
    );
    expect(await outcome(rewrap)).toBe("precondition/KEY_EXPIRED");
    await update(name, { clearExpireTime: true });
    expect(await outcome(encrypt(vault, admin, name))).toBe("ok");
  });
});

describe("DisableKey and EnableKey", () => {
  it("switch a key off and on, everywhere within a second", async () => {
    const { name } = await createKey(vault, admin);
    const text = await encrypt(other, admin, name);
    await decrypt(other, admin, name, text);
    const off = await vault.keys.disableKey({ requestId: requestId(), name }, admin);
    expect(off.key?.state).toBe(KeyState.DISABLED);
    expect(await outcome(encrypt(vault, admin, name))).toBe("precondition/KEY_DISABLED");
    await waitFor(
      async () =>
        (await outcome(decrypt(other, admin, name, text))) === "precondition/KEY_DISABLED",
      { what: "the other replica to follow", timeoutMs: 1000 },
    );
    // Doing it twice changes nothing more.
    await vault.keys.disableKey({ requestId: requestId(), name }, admin);
    const on = await vault.keys.enableKey({ requestId: requestId(), name }, admin);
    expect(on.key?.state).toBe(KeyState.ACTIVE);
    expect(await decrypt(vault, admin, name, text)).toBe("a secret");
  });
});

describe("DestroyKey", () => {
  it("shreds the material of all versions for ever, everywhere within a second", async () => {
    const { name, keyId } = await createKey(vault, admin);
    const text = await encrypt(vault, admin, name);
    await decrypt(other, admin, name, text);
    await rotate(name);
    const destroy = () => vault.keys.destroyKey({ requestId: requestId(), name }, admin);
    expect(await outcome(destroy())).toBe("precondition/KEY_DELETION_FORBIDDEN");
    expect(await decrypt(vault, admin, name, text)).toBe("a secret");
    await vault.keys.updateKey({ requestId: requestId(), name, deletionAllowed: true }, admin);
    expect((await destroy()).key?.state).toBe(KeyState.DESTROYED);
    const gone = "precondition/KEY_DESTROYED";
    expect(await outcome(decrypt(vault, admin, name, text))).toBe(gone);
    await waitFor(async () => (await outcome(decrypt(other, admin, name, text))) === gone, {
      what: "the other replica to follow",
      timeoutMs: 1000,
    });
    const { rows } = await pool.query<{ left: number }>(
      "SELECT count(box)::integer AS left FROM key_versions WHERE key_id = $1",
      [keyId],
    );
    expect(rows[0]?.left).toBe(0);
    expect((await destroy()).key?.state).toBe(KeyState.DESTROYED);
    const again = vault.keys.enableKey({ requestId: requestId(), name }, admin);
    expect(await outcome(again)).toBe(gone);
    expect(await outcome(rotate(name))).toBe(gone);
    expect(await outcome(createKey(vault, admin, { name }))).toBe("exists/KEY_EXISTS");
    const { versions } = await vault.keys.listKeyVersions({ name }, admin);
    expect(versions.every(({ state }) => state === KeyVersionState.DESTROYED)).toBe(true);
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

describe("ListKeys", () => {
  it("pages by name, and versions newest first", async () => {
    const team = await createUser(vault, admin, { scopes: ["*"], namespace: "team-list" });
    for (const name of ["a", "b", "c"]) await createKey(vault, team, { name });
    const first = await vault.keys.listKeys({ page: { pageSize: 2 } }, team);
    expect(first.keys.map(({ name }) => name)).toEqual(["a", "b"]);
    const pageToken = first.page?.nextPageToken ?? "";
    const second = await vault.keys.listKeys({ page: { pageSize: 2, pageToken } }, team);
    expect(second.keys.map(({ name }) => name)).toEqual(["c"]);
    expect(second.page?.nextPageToken).toBe("");
    await rotate("a", team);
    const versions = await vault.keys.listKeyVersions({ name: "a", page: { pageSize: 1 } }, team);
    expect(versions.versions.map(({ version }) => version)).toEqual([2]);
    const next = { pageSize: 1, pageToken: versions.page?.nextPageToken ?? "" };
    const older = await vault.keys.listKeyVersions({ name: "a", page: next }, team);
    expect(older.versions.map(({ version }) => version)).toEqual([1]);
    const foreign = vault.keys.listKeyVersions({ name: "b", page: next }, team);
    expect(await outcome(foreign)).toBe("invalid/PAGE_TOKEN_INVALID");
  });
});

async function tenantKeyVersions(namespace: string): Promise<number[]> {
  const { rows } = await pool.query<{ version: number }>(
    "SELECT version FROM tenant_keys WHERE namespace = $1 ORDER BY version",
    [namespace],
  );
  return rows.map(({ version }) => version);
}
