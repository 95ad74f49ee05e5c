import { fileURLToPath } from "node:url";
import type { ConfigManager } from "@nexus/core";
import {
  createLocalTokenVerifier,
  createRevocationSet,
  generateSigningJwks,
  importSigningJwk,
  type RevocationSet,
  signAccessToken,
} from "@nexus/identity";
import { createPool, migrate, type Pool } from "@nexus/postgres";
import { AuthService, PrincipalService } from "@nexus/proto/vault";
import {
  createServiceFrame,
  type RunningService,
  type ServerOverrides,
  type ServiceFrame,
} from "@nexus/runtime";
import type { VaultConfig } from "./config.ts";
import { AdmissionGate } from "./domain/admission-gate.ts";
import { AuthManager } from "./domain/auth-manager.ts";
import { bootstrapPrincipals } from "./domain/bootstrap.ts";
import { CryptoManager } from "./domain/crypto-manager.ts";
import { KeyStore } from "./domain/key-store.ts";
import type { TokenFormat } from "./domain/ports.ts";
import { PrincipalDirectory } from "./domain/principal-directory.ts";
import { RevocationLog } from "./domain/revocation-log.ts";
import { parseServiceSecrets } from "./domain/service-secrets.ts";
import { createVaultEvents } from "./events.ts";
import { createAuthHandlers, createPrincipalHandlers } from "./handlers/index.ts";
import { vaultLoops } from "./loops/index.ts";
import { deleteEnded } from "./store/cleanup-store.ts";
import { createFamilyStore } from "./store/family-store.ts";
import { createPrincipalStore } from "./store/principal-store.ts";
import { createMutations, createTransactions } from "./store/request-store.ts";
import { createRevocationReader } from "./store/revocation-store.ts";
import { ensureSealedKey } from "./store/sealed-key-store.ts";
import { createSigningKeyReader } from "./store/signing-key-store.ts";

const SCHEMA = "vault";
const MIGRATIONS = fileURLToPath(new URL("../migrations/", import.meta.url));
/** The sealed key from which the digest keys are derived. */
const DIGEST_KEY = "digest-key/1";
/** A first guess of one password check; the gate measures from there. */
const PASSWORD_CHECK_EXPECTED_MS = 300;

/** The token format of @nexus/identity, as the domain asks for it. */
const TOKEN_FORMAT: TokenFormat = {
  newSigningKey: generateSigningJwks,
  importKey: importSigningJwk,
  sign: signAccessToken,
};

/** Starts vault: stores, keys, principals, handlers, loops, then the port. Waits for its database as long as it
 * takes. Errors: data_loss/SEALED_KEY_UNREADABLE when the key encryption key is not the one of the stored keys. */
export async function startServer(
  config: ConfigManager<VaultConfig>,
  overrides?: ServerOverrides,
): Promise<RunningService> {
  const frame = await createServiceFrame({ service: "vault", config, overrides });
  try {
    const pool = await openDatabase(frame, config.current);
    const parts = createParts(frame, config.current, pool);
    await frame.untilUp("keys and principals", () => openParts(config.current, pool, parts));
    frame.provideVerifier(
      createLocalTokenVerifier({
        keys: parts.keys,
        revocations: parts.verified,
        clock: frame.clock,
      }),
    );
    frame.server.add(AuthService, createAuthHandlers(parts));
    frame.server.add(PrincipalService, createPrincipalHandlers(parts));
    addLoops(frame, pool, parts);
  } catch (error) {
    await frame[Symbol.asyncDispose]();
    throw error;
  }
  return frame.start();
}

async function openDatabase(frame: ServiceFrame, config: VaultConfig): Promise<Pool> {
  const pool = createPool({
    url: config.databaseUrl,
    max: config.databasePoolMax,
    applicationName: "nexus-vault",
    schema: SCHEMA,
    statementTimeoutMs: config.statementTimeoutMs,
    logger: frame.logger,
  });
  frame.defer("postgres", () => pool.close());
  frame.check("postgres", () => pool.query("SELECT 1"));
  await frame.untilUp("postgres", () => migrate(pool, { schema: SCHEMA, directory: MIGRATIONS }));
  return pool;
}

type Parts = ReturnType<typeof createParts>;

function createParts(frame: ServiceFrame, config: VaultConfig, pool: Pool) {
  const { clock, ids } = frame;
  const events = createVaultEvents(frame.metrics, frame.logger);
  const gate = new AdmissionGate({
    concurrency: config.loginConcurrency,
    queueMax: config.loginQueueMax,
    expectedMs: PASSWORD_CHECK_EXPECTED_MS,
    nowMs: () => performance.now(),
  });
  const crypto = new CryptoManager({
    keyEncryptionKey: Buffer.from(config.keyEncryptionKey, "base64"),
    passwordIterations: config.passwordIterations,
    gate,
  });
  const principals = createPrincipalStore(pool);
  const families = createFamilyStore(pool);
  frame.defer("principal lookups", () => principals.close());
  frame.defer("token grants", () => families.close());
  const transactions = createTransactions(pool);
  const mutations = createMutations(pool);
  const verified = createRevocationSet();
  const revocations = new RevocationLog(createRevocationReader(pool), feed(verified));
  const shared = { transactions, mutations, crypto, events, ids, tokens: TOKEN_FORMAT };
  const keys = new KeyStore({
    ...shared,
    keys: createSigningKeyReader(pool),
    clock,
    policy: { rotateAfterMs: config.keyRotationAgeMs, overlapMs: config.keyOverlapMs },
    accessTtlMs: config.accessTokenTtlMs,
    jwksMaxAgeMs: config.jwksMaxAgeMs,
  });
  const auth = new AuthManager({
    ...shared,
    principals,
    upkeep: principals,
    families,
    keys,
    revocations,
    accessTtlMs: config.accessTokenTtlMs,
    refreshTtlMs: config.refreshTokenTtlMs,
  });
  const directory = new PrincipalDirectory({ ...shared, principals, revocations });
  addGauges(frame, gate, revocations);
  const digestBody = (body: Uint8Array) => crypto.digest("request-body", body);
  return {
    auth,
    directory,
    keys,
    mutations,
    revocations,
    events,
    digestBody,
    crypto,
    principals,
    verified,
  };
}

/** The local verifier knows a revocation before any watcher does. */
function feed(verified: RevocationSet): ConstructorParameters<typeof RevocationLog>[1] {
  return (records) => verified.add(records);
}

/** Everything that a first call needs: digest key, signing keys, revocations in force, principals. Repeatable. */
async function openParts(config: VaultConfig, pool: Pool, parts: Parts): Promise<void> {
  const { crypto, keys, revocations, principals, events } = parts;
  const box = await ensureSealedKey(pool, DIGEST_KEY, () => crypto.newSealedDigestKey(DIGEST_KEY));
  crypto.useSealedDigestKey(DIGEST_KEY, box);
  await keys.open();
  await revocations.refresh();
  const services = parseServiceSecrets(config.bootstrapServiceSecrets ?? "");
  await bootstrapPrincipals({
    principals,
    upkeep: principals,
    crypto,
    events,
    adminPassword: config.bootstrapAdminPassword,
    serviceSecrets: "secrets" in services ? services.secrets : new Map(),
  });
}

function addGauges(frame: ServiceFrame, gate: AdmissionGate, revocations: RevocationLog): void {
  frame.metrics.gauge({
    name: "password_checks_running",
    help: "Password hashes being computed.",
    read: () => gate.running,
  });
  frame.metrics.gauge({
    name: "password_checks_queued",
    help: "Logins that wait for a hash.",
    read: () => gate.queued,
  });
  frame.metrics.gauge({
    name: "revocations_in_force",
    help: "Revocations whose tokens have not ended yet.",
    read: () => revocations.size,
  });
}

function addLoops(frame: ServiceFrame, pool: Pool, parts: Parts): void {
  const specs = vaultLoops({
    revocations: parts.revocations,
    keys: parts.keys,
    clock: frame.clock,
    onReadFailed: (what, error) => parts.events.readFailed(what, error),
    deleteEnded: (signal) => deleteEnded(pool, signal),
    pruneVerifier: (nowMs) => parts.verified.prune(nowMs),
  });
  for (const spec of specs) frame.loop(spec);
}
