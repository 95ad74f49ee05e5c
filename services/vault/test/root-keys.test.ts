import { randomBytes } from "node:crypto";
import { chmod, mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createPool, type Pool } from "@nexus/postgres";
import { SealReason } from "@nexus/proto/vault";
import { createTempFolder, type TempFolder, waitFor } from "@nexus/testkit";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { VaultConfig } from "../src/config.ts";
import { openBox, sealBox } from "../src/domain/aead.ts";
import { hkdfSha512 } from "../src/domain/crypto/hkdf.ts";
import { generateX25519 } from "../src/domain/crypto/hpke.ts";
import { tenantKeyPlace } from "../src/domain/keys/tenant-key.ts";
import { createLocalRootKeys, rootKeyId } from "../src/domain/root-key.ts";
import {
  type Agent,
  createAgent,
  createFleet,
  createUser,
  type Fleet,
  grant,
  KEY,
  login,
  outcome,
  type Replica,
  type Session,
} from "./_helpers.ts";
import { startKms, type TestKms } from "./_kms.ts";
import { createKey, decrypt, encrypt } from "./_transit.ts";

const UNREADABLE = "data_loss/SEALED_KEY_UNREADABLE";
const newKey = () => randomBytes(32).toString("base64");

let fleet: Fleet;
let folder: TempFolder;
let pool: Pool;

beforeAll(async () => {
  folder = await createTempFolder("root-keys");
});

afterAll(async () => {
  await folder.remove();
});

beforeEach(async () => {
  fleet = await createFleet();
  pool = createPool({ url: fleet.database.url, max: 2, applicationName: "test", schema: "vault" });
});

afterEach(async () => {
  await pool.close();
  await fleet.close();
});

/** A root key of its own instead of the one that the helpers give. */
function under(values: Partial<VaultConfig>): Partial<VaultConfig> {
  return { rootKey: undefined, ...values };
}

const caughtUp = (vault: Replica, admin: Session) =>
  waitFor(async () => (await vault.seal.getRootKeyStatus({}, admin)).staleTenantKeys === 0n, {
    what: "every tenant key to be under the current keys",
  });

/** Something that only opens with the keys of before: an agent's secret is stored under the digest key. */
async function knowsAgent(vault: Replica, { principalId, clientSecret }: Agent): Promise<string> {
  return outcome(grant(vault, principalId, clientSecret));
}

/** A tenant that has encrypted something with a key of its own. */
async function tenantWithCiphertext(vault: Replica, namespace: string) {
  const tenant = await createUser(vault, await login(vault), { scopes: ["*"], namespace });
  const { name } = await createKey(vault, tenant);
  const text = await encrypt(vault, tenant, name);
  return {
    decryptsAt: (replica: Replica) => outcome(decrypt(replica, tenant, name, text)),
  };
}

async function keyFile(name: string, mode: number, text = newKey()): Promise<string> {
  const path = join(folder.path, name);
  await rm(path, { force: true });
  await writeFile(path, text, { mode });
  await chmod(path, mode);
  return path;
}

describe("a root key in a file", () => {
  it("opens vault, and is read anew at each unseal", async () => {
    const rootKeyFile = await keyFile("root.key", 0o600);
    const vault = await fleet.start(under({ rootKeyFile }));
    const admin = await login(vault);
    expect((await vault.seal.getRootKeyStatus({}, admin)).source).toBe("file");
    await vault.seal.seal({}, admin);
    await chmod(rootKeyFile, 0o644);
    expect(await outcome(vault.seal.unsealFromProvider({}, admin))).toBe(
      "precondition/ROOT_KEY_UNSAFE",
    );
    expect(await outcome(login(vault))).toBe("precondition/VAULT_SEALED");
    await chmod(rootKeyFile, 0o400);
    await vault.seal.unsealFromProvider({}, admin);
    expect(await outcome(login(vault))).toBe("ok");
  });

  it("that is not safe any more leaves the choice to bring it", async () => {
    const text = newKey();
    const rootKeyFile = await keyFile("loosened.key", 0o600, text);
    const vault = await fleet.start(under({ rootKeyFile }));
    const admin = await login(vault);
    await vault.seal.seal({}, admin);
    await chmod(rootKeyFile, 0o666);
    await pool.query("UPDATE seal_state SET sealed = false");
    await waitFor(
      async () => (await vault.seal.getSealStatus({})).reason === SealReason.ROOT_KEY_WRONG,
      { what: "the file to be refused" },
    );
    await vault.seal.unseal({ rootKey: Buffer.from(text, "base64") });
    expect((await vault.seal.getRootKeyStatus({}, admin)).source).toBe("operator");
  });

  it("is refused when others may read or replace it, or when it is no key", async () => {
    const open = join(folder.path, "open");
    await mkdir(open, { mode: 0o777 });
    await chmod(open, 0o777);
    await writeFile(join(open, "root.key"), newKey(), { mode: 0o600 });
    for (const rootKeyFile of [
      await keyFile("others.key", 0o604),
      await keyFile("group.key", 0o640),
      await keyFile("short.key", 0o600, "c2hvcnQ="),
      await keyFile("long.key", 0o600, newKey().repeat(20)),
      join(open, "root.key"),
      join(folder.path, "absent.key"),
    ]) {
      const start = fleet.start(under({ rootKeyFile }));
      expect(await outcome(start), rootKeyFile).toBe("precondition/ROOT_KEY_UNSAFE");
    }
  });
});

describe("a change of root keys", () => {
  it("leaves out a row that does not open, and moves those behind it", async () => {
    const [first, second] = [newKey(), newKey()];
    const before = await fleet.start(under({ rootKey: first }));
    const admin = await login(before);
    for (const namespace of ["a-damaged", "team-behind"]) {
      const tenant = await createUser(before, admin, { scopes: ["*"], namespace });
      await createKey(before, tenant);
    }
    await before.stop();
    await pool.query(
      "UPDATE tenant_keys SET root_box = decode(repeat('00', 40), 'hex') WHERE namespace = 'a-damaged'",
    );
    const vault = await fleet.start(under({ rootKey: second, rootKeyPrevious: first }));
    await waitFor(
      async () => (await vault.seal.getRootKeyStatus({}, admin)).staleTenantKeys === 1n,
      { what: "the rows that open to be under the new key" },
    );
    const { rows } = await pool.query<{ namespace: string }>(
      "SELECT namespace FROM tenant_keys GROUP BY namespace, root_key_id ORDER BY 1",
    );
    expect(rows.map(({ namespace }) => namespace)).toEqual([
      "a-damaged",
      "nexus-system",
      "team-behind",
    ]);
  });

  it("moves every tenant key under the new one, after which the old one is not needed", async () => {
    const [first, second] = [newKey(), newKey()];
    const before = await fleet.start(under({ rootKey: first }));
    const agent = await createAgent(before, await login(before));
    await before.stop();
    expect(await outcome(fleet.start(under({ rootKey: second })))).toBe(UNREADABLE);
    const between = await fleet.start(under({ rootKey: second, rootKeyPrevious: first }));
    await caughtUp(between, await login(between));
    await between.stop();
    const after = await fleet.start(under({ rootKey: second }));
    expect(await knowsAgent(after, agent)).toBe("ok");
    expect(await outcome(fleet.start(under({ rootKey: first })))).toBe(UNREADABLE);
  });

  it("is noticed by no replica when each knows the new key before one wraps with it", async () => {
    const [first, second] = [newKey(), newKey()];
    const keyCacheTtlMs = 1000;
    const before = { rootKey: first, rootKeyPrevious: second, keyCacheTtlMs };
    const old = await fleet.start(under(before));
    const tenant = await tenantWithCiphertext(old, "team-rolling");
    const moved = async () => {
      const { rows } = await pool.query<{ ids: number }>(
        "SELECT count(*)::integer AS ids FROM tenant_keys WHERE root_key_id <> $1",
        [rootKeyId(Buffer.from(first, "base64"))],
      );
      return rows[0]?.ids !== 0;
    };
    await fleet.start(under({ rootKey: second, rootKeyPrevious: first, keyCacheTtlMs }));
    await waitFor(moved, { what: "the first rows to be under the new key" });
    await new Promise((resolve) => setTimeout(resolve, keyCacheTtlMs));
    expect(await tenant.decryptsAt(old)).toBe("ok");
  });

  it("notices a wrapped key that was changed", async () => {
    const vault = await fleet.start();
    await vault.stop();
    await pool.query(
      "UPDATE tenant_keys SET root_box = set_byte(root_box, 9, 1 # get_byte(root_box, 9))",
    );
    expect(await outcome(fleet.start())).toBe(UNREADABLE);
  });
});

describe("a KMS", () => {
  it("wraps the keys of tenants, is not asked for each call, and changes its key unnoticed", async () => {
    const kms = await startKms();
    const config = under({ kmsEndpoint: kms.address });
    const vault = await fleet.start(config);
    const admin = await login(vault);
    const status = await vault.seal.getRootKeyStatus({}, admin);
    expect(status).toMatchObject({ source: "kms", rootKeyId: "test-key/1" });
    const asked = kms.unwrapped;
    const agent = await createAgent(vault, admin);
    for (let i = 0; i < 20; i++) await grant(vault, agent.principalId, agent.clientSecret);
    expect(kms.unwrapped).toBe(asked);
    const newer = kms.rotate();
    await caughtUp(vault, admin);
    expect((await vault.seal.getRootKeyStatus({}, admin)).rootKeyId).toBe(newer);
    kms.disable("test-key/1");
    await vault.stop();
    const after = await fleet.start(config);
    expect(await knowsAgent(after, agent)).toBe("ok");
    await after.stop();
    kms.disable(newer);
    kms.rotate();
    expect(await outcome(fleet.start(config))).toBe(UNREADABLE);
    await kms.close();
  });

  it("is reached by a Unix socket as well", async () => {
    const kms = await startKms(new Map(), join(folder.path, "kms.sock"));
    const vault = await fleet.start(under({ kmsEndpoint: kms.address }));
    const status = await vault.seal.getRootKeyStatus({}, await login(vault));
    expect(status.rootKeyId).toBe("test-key/1");
    await vault.stop();
    await kms.close();
  });

  it("that is away leaves vault sealed, and opens it when it comes", async () => {
    const keys = new Map<string, Buffer>();
    let kms: TestKms = await startKms(keys);
    const config = under({ kmsEndpoint: kms.address });
    const before = await fleet.start(config);
    const admin = await login(before);
    await before.stop();
    await kms.close();
    const vault = await fleet.start(config);
    expect((await vault.seal.getSealStatus({})).reason).toBe(SealReason.ROOT_KEY_UNREACHABLE);
    expect(await outcome(login(vault))).toBe("precondition/VAULT_SEALED");
    expect(await outcome(vault.seal.unsealFromProvider({}, admin))).toBe(
      "unavailable/ROOT_KEY_UNREACHABLE",
    );
    kms = await startKms(keys, kms.port);
    await waitFor(async () => !(await vault.seal.getSealStatus({})).sealed, {
      what: "the KMS to be found",
    });
    expect(await outcome(login(vault))).toBe("ok");
    await kms.close();
  });
});

describe("the recovery key", () => {
  it("restores everything when the root key is lost", async () => {
    const { publicKey, privateKey } = generateX25519();
    const recoveryPublicKey = publicKey.toString("base64");
    const lost = await fleet.start(under({ rootKey: newKey(), recoveryPublicKey }));
    const agent = await createAgent(lost, await login(lost));
    const tenant = await tenantWithCiphertext(lost, "team-drill");
    await lost.stop();
    const rootKey = newKey();
    expect(await outcome(fleet.start(under({ rootKey, recoveryPublicKey })))).toBe(UNREADABLE);
    const wrong = generateX25519().privateKey.toString("base64");
    const wrongFile = await keyFile("wrong-recovery.key", 0o600, wrong);
    const attempt = under({ rootKey, recoveryPublicKey, recoveryKeyFile: wrongFile });
    expect(await outcome(fleet.start(attempt))).toBe(UNREADABLE);
    const recoveryKeyFile = await keyFile("recovery.key", 0o400, privateKey.toString("base64"));
    const drill = await fleet.start(under({ rootKey, recoveryPublicKey, recoveryKeyFile }));
    expect(await knowsAgent(drill, agent)).toBe("ok");
    expect(await tenant.decryptsAt(drill)).toBe("ok");
    await caughtUp(drill, await login(drill));
    await drill.stop();
    const restored = await fleet.start(under({ rootKey, recoveryPublicKey }));
    expect(await knowsAgent(restored, agent)).toBe("ok");
    expect(await tenant.decryptsAt(restored)).toBe("ok");
  });

  it("that is configured later is given every key that exists", async () => {
    const rootKey = newKey();
    const before = await fleet.start(under({ rootKey }));
    const agent = await createAgent(before, await login(before));
    await before.stop();
    const { publicKey, privateKey } = generateX25519();
    const recoveryPublicKey = publicKey.toString("base64");
    const later = await fleet.start(under({ rootKey, recoveryPublicKey }));
    const admin = await login(later);
    await caughtUp(later, admin);
    expect((await later.seal.getRootKeyStatus({}, admin)).recoveryKeyId).toMatch(/^[0-9a-f]{16}$/);
    await later.stop();
    // A start without the setting keeps what there is.
    await (await fleet.start(under({ rootKey }))).stop();
    const recoveryKeyFile = await keyFile("later.key", 0o600, privateKey.toString("base64"));
    const drill = await fleet.start(under({ rootKey: newKey(), recoveryKeyFile }));
    expect(await knowsAgent(drill, agent)).toBe("ok");
  });
});

describe("boxes of earlier versions", () => {
  it("are sealed anew under the root key by one start with the key encryption key", async () => {
    const vault = await fleet.start();
    const admin = await login(vault);
    const agent = await createAgent(vault, admin);
    await vault.stop();
    const keyEncryptionKey = newKey();
    await reverseToEarlierVersion(Buffer.from(keyEncryptionKey, "base64"));
    // A start that opens nothing leaves nothing behind, such as a key under a root key that was mistyped.
    expect(await outcome(fleet.start(under({ rootKey: newKey() })))).toBe(UNREADABLE);
    expect(await outcome(fleet.start())).toBe(UNREADABLE);
    expect(await outcome(fleet.start({ keyEncryptionKey: newKey() }))).toBe(UNREADABLE);
    const upgraded = await fleet.start({ keyEncryptionKey });
    expect(await outcome(upgraded.auth.whoAmI({}, admin))).toBe("ok");
    await upgraded.stop();
    const after = await fleet.start();
    const fresh = await login(after);
    expect(await outcome(after.auth.whoAmI({}, fresh))).toBe("ok");
    expect(await knowsAgent(after, agent)).toBe("ok");
  });
});

/** Makes the database what an earlier version left: the same keys, sealed with the key encryption key, and no tenant
 * keys. */
async function reverseToEarlierVersion(keyEncryptionKey: Buffer): Promise<void> {
  const tenantKey = await pool.query<{ rootKeyId: string; box: Buffer }>(
    `SELECT root_key_id AS "rootKeyId", root_box AS box FROM tenant_keys`,
  );
  const place = tenantKeyPlace({ namespace: "nexus-system", version: 1 });
  const root = createLocalRootKeys("environment", Buffer.from(KEY, "base64"));
  const opened = await root.unwrap(place, tenantKey.rows[0] ?? { rootKeyId: "", box: Buffer.of() });
  const info = "nexus/vault/box/v1";
  const key = hkdfSha512(opened ?? Buffer.of(), { salt: Buffer.of(), info, lengthBytes: 32 });
  const resealed = (name: string, box: Buffer) =>
    sealBox(keyEncryptionKey, openBox(key, box, name) ?? Buffer.of(), name);
  const signing = await pool.query<{ kid: string; box: Buffer }>(
    "SELECT kid, private_box AS box FROM signing_keys",
  );
  for (const { kid, box } of signing.rows) {
    const text = "UPDATE signing_keys SET private_box = $2, box_key_version = NULL WHERE kid = $1";
    await pool.query(text, [kid, resealed(`signing-key/${kid}`, box)]);
  }
  const digest = await pool.query<{ name: string; box: Buffer }>(
    "SELECT name, box FROM sealed_keys",
  );
  for (const { name, box } of digest.rows) {
    const text = "UPDATE sealed_keys SET box = $2, box_key_version = NULL WHERE name = $1";
    await pool.query(text, [name, resealed(name, box)]);
  }
  await pool.query("DELETE FROM tenant_keys");
}
