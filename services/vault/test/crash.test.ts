/** Vault as a process of its own that is killed in the middle of its work, again and again. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createPool, type Pool } from "@nexus/postgres";
import { KeyService, KeyType, SecretService, TransitService } from "@nexus/proto/vault";
import { createRpcChannel, createRpcClient } from "@nexus/rpc";
import { freePort, waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  createFleet,
  type Fleet,
  KEY,
  login,
  type Replica,
  requestId,
  type Session,
} from "./_helpers.ts";
import { put, read } from "./_secrets.ts";
import { CONTEXT, createKey, createPlainKey } from "./_transit.ts";

const MAIN = join(import.meta.dirname, "../dist/bundle.js");
const ROUNDS = 4;
/** A process loads and starts in a second or, on a busy machine, in many. */
const START_TIMEOUT_MS = 60_000;
const TEST_TIMEOUT_MS = 240_000;
const BLOCK = 65_536;
const SECRET = "app/crash";

let fleet: Fleet;
let pool: Pool;
let admin: Session;
let port: number;
let plain: string;
let rotated: string;

beforeAll(async () => {
  expect(existsSync(MAIN), "npm run build makes it").toBe(true);
  fleet = await createFleet();
  const vault = await fleet.start();
  admin = await login(vault);
  plain = (await createPlainKey(vault, admin)).name;
  rotated = (await createKey(vault, admin, { type: KeyType.ED25519 })).name;
  await put(vault, admin, SECRET, { text: "first" });
  const settings = { requestId: requestId(), path: SECRET, maxVersions: 100 };
  await vault.secrets.updateSecretMetadata(settings, admin);
  await vault.stop();
  pool = createPool({ url: fleet.database.url, max: 2, applicationName: "test", schema: "vault" });
  port = await freePort();
});

afterAll(async () => {
  await pool.close();
  await fleet.close();
});

function startProcess(): ChildProcess {
  const env = {
    PATH: process.env["PATH"] ?? "",
    NEXUS_VAULT_DATABASE_URL: fleet.database.url,
    NEXUS_VAULT_ROOT_KEY: KEY,
    NEXUS_VAULT_GRPC_PORT: String(port),
    NEXUS_VAULT_OPS_PORT: "0",
    NEXUS_VAULT_LOG_LEVEL: "silent",
    NEXUS_VAULT_PASSWORD_ITERATIONS: "100000",
  };
  return spawn(process.execPath, [MAIN], { env, stdio: "ignore" });
}

interface Acknowledged {
  readonly ciphertexts: string[];
  readonly versions: number[];
  /** Texts of secrets by the version that the answer named. */
  readonly texts: Map<number, string>;
}

/** Encrypts, rotates and puts as fast as it can until the process is gone; notes what was answered. */
async function workUntilKilled(child: ChildProcess, acknowledged: Acknowledged): Promise<void> {
  const channel = createRpcChannel({ address: `127.0.0.1:${port}` });
  const transit = createRpcClient(TransitService, channel);
  const keys = createRpcClient(KeyService, channel);
  const secrets = createRpcClient(SecretService, channel);
  const request = { keyName: plain, plaintext: Buffer.from("x"), context: CONTEXT };
  const token = { token: admin.token };
  await waitFor(() => transit.generateRandom({ sizeBytes: 1 }, token).then(() => true), {
    what: "vault to serve",
    timeoutMs: START_TIMEOUT_MS,
  });
  let dead = false;
  const exited = once(child, "exit").then(() => {
    dead = true;
  });
  const brief = { ...token, timeoutMs: 1000 };
  const encrypting = async () => {
    while (!dead) {
      const answer = await transit.encrypt(request, brief).catch(() => undefined);
      if (answer !== undefined) acknowledged.ciphertexts.push(answer.ciphertext);
    }
  };
  const rotating = async () => {
    while (!dead) {
      const call = keys.rotateKey({ requestId: requestId(), name: rotated }, brief);
      const answer = await call.catch(() => undefined);
      if (answer?.key !== undefined) acknowledged.versions.push(answer.key.latestVersion);
    }
  };
  const putting = async () => {
    while (!dead) {
      const id = requestId();
      const request = { requestId: id, path: SECRET, value: Buffer.from(id) };
      const answer = await secrets.putSecret(request, brief).catch(() => undefined);
      if (answer?.version !== undefined) acknowledged.texts.set(answer.version.version, id);
    }
  };
  const versionsBefore = acknowledged.versions.length;
  const textsBefore = acknowledged.texts.size;
  const work = Promise.all([encrypting(), encrypting(), rotating(), putting(), putting()]);
  await waitFor(
    () =>
      acknowledged.versions.length >= versionsBefore + 3 &&
      acknowledged.texts.size >= textsBefore + 3,
    { what: "some rotations and puts" },
  );
  child.kill("SIGKILL");
  await exited;
  await work;
  channel.close();
}

/** Every version that is kept opens, every one that was answered is what was put, and no number is missing. */
async function assertSecretWhole(
  vault: Replica,
  texts: ReadonlyMap<number, string>,
): Promise<void> {
  const page = { pageSize: 1000 };
  const { versions } = await vault.secrets.listSecretVersions({ path: SECRET, page }, admin);
  const latest = versions[0]?.version ?? 0;
  expect(versions.map(({ version }) => version)).toEqual(versions.map((_, at) => latest - at));
  expect(versions.length).toBe(Math.min(latest, 100));
  expect(latest).toBeGreaterThanOrEqual(Math.max(...texts.keys()));
  for (const { version } of versions) {
    const text = await read(vault, admin, SECRET, version);
    expect(text).toBe(texts.get(version) ?? text);
  }
}

describe("a vault that is killed", () => {
  it(
    "loses no version that it has answered, repeats no use, makes no version twice and none half",
    async () => {
      const acknowledged: Acknowledged = { ciphertexts: [], versions: [], texts: new Map() };
      for (let round = 0; round < ROUNDS; round++) {
        await workUntilKilled(startProcess(), acknowledged);
      }
      const stored = await pool.query<{ version: number }>(
        `SELECT v.version FROM key_versions v JOIN named_keys k USING (key_id)
       WHERE k.name = $1 AND v.box IS NOT NULL ORDER BY v.version`,
        [rotated],
      );
      const versions = stored.rows.map(({ version }) => version);
      expect(versions).toEqual(versions.map((_, index) => index + 1));
      expect(new Set(acknowledged.versions).size).toBe(acknowledged.versions.length);
      expect(versions).toEqual(expect.arrayContaining(acknowledged.versions));
      const { rows } = await pool.query<{ uses: string }>(
        `SELECT v.uses_reserved AS uses FROM key_versions v JOIN named_keys k USING (key_id)
       WHERE k.name = $1`,
        [plain],
      );
      // One block for each life that used the key, and no use beyond what was taken.
      expect(Number(rows[0]?.uses)).toBe(ROUNDS * BLOCK);
      expect(acknowledged.ciphertexts.length).toBeGreaterThan(ROUNDS);
      expect(new Set(acknowledged.ciphertexts).size).toBe(acknowledged.ciphertexts.length);
      const vault = await fleet.start();
      const items = acknowledged.ciphertexts.slice(-256).map((ciphertext) => ({
        ciphertext,
        context: CONTEXT,
      }));
      const { results } = await vault.transit.decryptBatch({ keyName: plain, items }, admin);
      expect(new Set(results.map(({ outcome }) => outcome.case))).toEqual(new Set(["plaintext"]));
      await assertSecretWhole(vault, acknowledged.texts);
    },
    TEST_TIMEOUT_MS,
  );
});
