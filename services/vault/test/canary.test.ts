import { randomBytes } from "node:crypto";
import { createPool } from "@nexus/postgres";
import { createLogger, type Namespace, type NexusError } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { unwrapKeyFor } from "../src/domain/crypto/key-wrap.ts";
import { keyVersionPlace, type StaleVersion } from "../src/domain/keys/named-key.ts";
import { tenantKeyPlace } from "../src/domain/keys/tenant-key.ts";
import { createLocalRootKeys } from "../src/domain/root-key.ts";
import type { SecretName } from "../src/domain/secrets/secret.ts";
import { secretKeyPlace } from "../src/domain/secrets/secret-sealer.ts";
import { createTenantKeyStore } from "../src/store/tenant-key-store.ts";
import {
  createFleet,
  createUser,
  failure,
  login,
  type Replica,
  requestId,
  type Session,
} from "./_helpers.ts";
import { put, read } from "./_secrets.ts";
import { CONTEXT, createKey, decrypt, encrypt, OTHER_CONTEXT } from "./_transit.ts";

const CANARY = "canary-5f1c7a-in-a-coal-mine";

/** A byte string in the forms in which it could be written down. */
function formsOf(bytes: Buffer): string[] {
  return [bytes.toString("hex"), bytes.toString("base64"), bytes.toString("base64url")];
}

/** Values of secrets, stored, read, leased, and refused. */
async function exerciseSecrets(
  vault: Replica,
  admin: Session,
  errors: NexusError[],
): Promise<void> {
  const path = "app/canary";
  const init = { requestId: requestId(), text: CANARY };
  await put(vault, admin, path, init);
  await put(vault, admin, path, init);
  await read(vault, admin, path);
  await vault.secrets.leaseSecret({ requestId: requestId(), path }, admin);
  errors.push(
    await failure(put(vault, admin, path, { text: CANARY, expectedVersion: 7 })),
    await failure(put(vault, admin, path, { ...init, text: `${CANARY}!` })),
    await failure(put(vault, admin, "../x", { text: CANARY })),
    await failure(put(vault, admin, path, { text: CANARY.repeat(4096) })),
  );
}

/** Everything with a secret in it that goes right, and as much that goes wrong. */
async function exercise(vault: Replica, admin: Session, rootKey: Buffer): Promise<string[]> {
  const { name } = await createKey(vault, admin);
  const ciphertext = await encrypt(vault, admin, name, CANARY);
  await decrypt(vault, admin, name, ciphertext);
  const plaintext = Buffer.from(CANARY);
  const errors = await Promise.all([
    failure(vault.transit.decrypt({ keyName: name, ciphertext, context: OTHER_CONTEXT }, admin)),
    failure(vault.transit.encrypt({ keyName: CANARY, plaintext, context: CONTEXT }, admin)),
    failure(vault.transit.encrypt({ keyName: name, plaintext }, admin)),
    failure(vault.seal.unseal({ rootKey: Buffer.from(CANARY.padEnd(32, ".")) })),
    failure(vault.transit.verifyPassword({ password: CANARY, phc: CANARY }, admin)),
  ]);
  await exerciseSecrets(vault, admin, errors);
  await vault.transit.hashPassword({ password: CANARY }, admin);
  await vault.keys.rotateKey({ requestId: requestId(), name }, admin);
  await createUser(vault, admin, { password: CANARY });
  await vault.seal.seal({}, admin);
  await vault.seal.unseal({ rootKey: Buffer.from(rootKey) });
  return errors.map((error) => JSON.stringify([error.message, error.details]));
}

describe("a canary secret", () => {
  it("is in no log line, no error, no metric and no table", async () => {
    const fleet = await createFleet();
    const lines: string[] = [];
    const destination = { write: (line: string) => void lines.push(line) };
    const logger = createLogger({ service: "vault", level: "trace", destination });
    const rootKey = randomBytes(32);
    const vault = await fleet.start({ rootKey: rootKey.toString("base64") }, logger);
    const errors = await exercise(vault, await login(vault), rootKey);
    const metrics = await (await fetch(`http://${vault.service.opsAddress}/metrics`)).text();
    const keys = await openedKeys(fleet.database.url, rootKey);
    // Vault's own namespace key, the tenant's, two versions of the named one, and the key of the secret's version.
    expect(keys.length).toBe(5);
    const bytes = [Buffer.from(CANARY), rootKey, ...keys];
    const secrets = [CANARY, ...bytes.flatMap(formsOf)];
    const sinks = [...lines, ...errors, metrics];
    const dump = await dumpTables(fleet.database.url);
    for (const secret of secrets) {
      expect(sinks.filter((sink) => sink.includes(secret))).toEqual([]);
      expect(dump.includes(secret)).toBe(false);
    }
    expect(lines.length).toBeGreaterThan(10);
    expect(dump).toContain("admin");
    await fleet.close();
  });
});

/** The stored keys of tenants, opened. */
async function openedKeys(url: string, rootKey: Buffer): Promise<Buffer[]> {
  const pool = createPool({ url, max: 1, applicationName: "test", schema: "vault" });
  const tenants = createTenantKeyStore(pool);
  const root = createLocalRootKeys("environment", Buffer.from(rootKey));
  const opened = new Map<string, Buffer | undefined>();
  for (const namespace of ["nexus-system", "default"] as Namespace[]) {
    const row = await tenants.newest(namespace);
    if (row === undefined) continue;
    opened.set(namespace, await root.unwrap(tenantKeyPlace(row), row.wrapped));
  }
  const { rows } = await pool.query<StaleVersion & { readonly box: Buffer }>(
    `SELECT key_id AS "keyId", version, v.namespace, type, box
     FROM key_versions v JOIN named_keys USING (key_id)`,
  );
  const values = await pool.query<SecretName & { readonly box: Buffer }>(
    `SELECT s.namespace, s.path, v.box FROM secret_versions v JOIN secrets s USING (secret_id)`,
  );
  await pool.close();
  const versions = rows.map((row) =>
    unwrapKeyFor(keyVersionPlace(row), opened.get(row.namespace) ?? Buffer.of(), row.box),
  );
  const secrets = values.rows.map((row) =>
    unwrapKeyFor(secretKeyPlace(row), opened.get(row.namespace) ?? Buffer.of(), row.box),
  );
  return [...opened.values(), ...versions, ...secrets].filter((key) => key !== undefined);
}

/** Every row of every table as text; bytes are hex there. */
async function dumpTables(url: string): Promise<string> {
  const pool = createPool({ url, max: 1, applicationName: "test", schema: "vault" });
  const tables = await pool.query<{ name: string }>(
    "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'vault'",
  );
  const texts: string[] = [];
  for (const { name } of tables.rows) {
    const { rows } = await pool.query<{ line: string }>(`SELECT t::text AS line FROM ${name} t`);
    texts.push(...rows.map(({ line }) => line));
  }
  await pool.close();
  return texts.join("\n");
}
