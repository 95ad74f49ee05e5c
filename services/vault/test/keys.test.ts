import { KeyState, KeyType, KeyVersionState } from "@nexus/proto/vault";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deleteEnded } from "../src/store/cleanup-store.ts";
import { createUser, failure, outcome, requestId, type Session } from "./_helpers.ts";
import { openTenantSuite, type TenantSuite } from "./_suite.ts";
import { CONTEXT, createKey, decrypt, encrypt } from "./_transit.ts";

let { vault, other, admin, tenant, pool, close } = {} as TenantSuite;

beforeAll(async () => {
  ({ vault, other, admin, tenant, pool, close } = await openTenantSuite("team-keys"));
});

afterAll(() => close());

const get = async (name: string, caller = admin) => (await vault.keys.getKey({ name }, caller)).key;
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

  it("knows at once of a use on another replica", async () => {
    const { name } = await createKey(vault, admin);
    const old = await encrypt(vault, admin, name);
    await rotate(name);
    await decrypt(other, admin, name, old);
    expect(await outcome(update(name, { minDecryptionVersion: 2 }))).toBe(
      "precondition/KEY_VERSION_IN_USE",
    );
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

  it("frees the name after 30 days, for a key that opens nothing of the old one", async () => {
    const { name, keyId } = await createKey(vault, admin, { deletionAllowed: true });
    const text = await encrypt(vault, admin, name);
    await vault.keys.destroyKey({ requestId: requestId(), name }, admin);
    const age = (interval: string) =>
      pool.query(
        "UPDATE named_keys SET destroyed_at = clock_timestamp() - $2::interval WHERE key_id = $1",
        [keyId, interval],
      );
    const { signal } = new AbortController();
    await age("29 days");
    await deleteEnded(pool, signal);
    expect(await outcome(createKey(vault, admin, { name }))).toBe("exists/KEY_EXISTS");
    await age("31 days");
    await deleteEnded(pool, signal);
    expect(await outcome(get(name))).toBe("not_found/KEY_NOT_FOUND");
    const later = await createKey(vault, admin, { name });
    expect(later.keyId).not.toBe(keyId);
    for (const replica of [vault, other]) {
      await waitFor(
        async () =>
          (await outcome(decrypt(replica, admin, name, text))) === "invalid/DECRYPTION_FAILED",
        { what: "the new key to be known" },
      );
    }
    expect(await outcome(encrypt(vault, admin, name))).toBe("ok");
  });

  it("takes a key out of the count of the namespace", async () => {
    const team = await createUser(vault, admin, { scopes: ["*"], namespace: "team-full" });
    const fill = (state: string) =>
      pool.query(
        `INSERT INTO named_keys (namespace, name, key_id, type, state, latest_version, rotation_period_ms,
         max_uses, deletion_allowed, revision, destroyed_at)
       SELECT 'team-full', $1 || n, $1 || n, 'envelope', $1, 1, 0, 0, true, -n - CASE $1 WHEN 'active' THEN 0 ELSE 100000 END,
         CASE $1 WHEN 'destroyed' THEN clock_timestamp() END
       FROM generate_series(1, 10000) n`,
        [state],
      );
    await fill("destroyed");
    expect(await outcome(createKey(vault, team))).toBe("ok");
    await fill("active");
    expect(await outcome(createKey(vault, team))).toBe("exhausted/KEY_LIMIT");
    await pool.query("DELETE FROM named_keys WHERE namespace = 'team-full' AND revision < 0");
    expect(await outcome(createKey(vault, team))).toBe("ok");
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
