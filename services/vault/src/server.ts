import { fileURLToPath } from "node:url";
import type { ConfigManager } from "@nexus/core";
import {
  createRevocationSet,
  generateSigningJwks,
  importSigningJwk,
  signAccessToken,
} from "@nexus/identity";
import { createPool, migrate, type Pool } from "@nexus/postgres";
import {
  AccessService,
  AnomalyService,
  AuditIntakeService,
  AuditLogService,
  AuthService,
  CaService,
  KeyService,
  PrincipalService,
  SealService,
  SecretService,
  TransitService,
} from "@nexus/proto/vault";
import {
  createServiceFrame,
  type RunningService,
  type ServerOverrides,
  type ServiceFrame,
  usePool,
} from "@nexus/runtime";
import { NexusError } from "@nexus/shared";
import type { VaultConfig } from "./config.ts";
import { AdmissionGate } from "./domain/admission-gate.ts";
import type { CertificateAuthority } from "./domain/certificate-authority.ts";
import { CryptoManager } from "./domain/crypto-manager.ts";
import { PasswordHelper } from "./domain/password-helper.ts";
import { Peppers } from "./domain/peppers.ts";
import type { TokenFormat } from "./domain/ports.ts";
import type { SecureVault } from "./domain/secure-vault.ts";
import { TransitEngine } from "./domain/transit-engine.ts";
import { createVaultEvents } from "./events.ts";
import { createAnomalyHandlers } from "./handlers/alerts.ts";
import { createAuditIntakeHandlers, createAuditLogHandlers } from "./handlers/audit.ts";
import {
  createAccessHandlers,
  createAuthHandlers,
  createCaHandlers,
  createKeyHandlers,
  createPrincipalHandlers,
  createSealHandlers,
} from "./handlers/index.ts";
import { createSecretHandlers } from "./handlers/secrets.ts";
import { createTransitHandlers } from "./handlers/transit.ts";
import { addFollowing } from "./loops/following.ts";
import { vaultLoops } from "./loops/index.ts";
import { createAnomalies } from "./server/anomalies.ts";
import { createAuditLog, createVaultAuditor } from "./server/audit.ts";
import { createCertificates } from "./server/certificates.ts";
import { addGauges } from "./server/gauges.ts";
import { createIdentity } from "./server/identity-parts.ts";
import { openOperatorSocket } from "./server/operator-socket.ts";
import { digestPart, principalsPart, signingPart } from "./server/sealed-parts.ts";
import { createSealing, keyOf } from "./server/sealing.ts";
import { createSecrets } from "./server/secrets.ts";
import { createBoxStore } from "./store/box-store.ts";
import { deleteEnded } from "./store/cleanup-store.ts";
import { createMutations, createTransactions } from "./store/request-store.ts";
import { createStandingReader } from "./store/standing-store.ts";

const SCHEMA = "vault";
const MIGRATIONS = fileURLToPath(new URL("../migrations/", import.meta.url));
/** A first guess of one password check; the gate measures from there. */
const PASSWORD_CHECK_EXPECTED_MS = 300;
/** Helpers that may wait for their turn; the contract of HashPassword says so. */
const HELPER_QUEUE_MAX = 16;

/** The token format of @nexus/identity, as the domain asks for it. */
const TOKEN_FORMAT: TokenFormat = {
  newSigningKey: generateSigningJwks,
  importKey: importSigningJwk,
  sign: signAccessToken,
};

/** Starts vault: stores, keys, principals, handlers, loops, then the port. Waits for its database as long as it
 * takes. Without a root key it starts sealed, and everything that needs no key works.
 * Errors: data_loss/SEALED_KEY_UNREADABLE when the configured root key is not the one of the stored keys;
 * precondition/ROOT_KEY_UNSAFE when others may read the root key's file. */
export async function startServer(
  config: ConfigManager<VaultConfig>,
  overrides?: ServerOverrides,
): Promise<RunningService> {
  const frame = await createServiceFrame({ service: "vault", config, overrides });
  let parts: Parts;
  try {
    const pool = await openDatabase(frame, config.current);
    parts = createParts(frame, config.current, pool);
    await frame.untilUp("keys and principals", () => openParts(parts));
    provideOwnIssuer(frame, config.current, parts.vault, parts.authority);
    frame.provideVerifier(parts.verifier);
    frame.server.add(AuthService, createAuthHandlers(parts));
    frame.server.add(CaService, createCaHandlers(parts));
    frame.server.add(PrincipalService, createPrincipalHandlers(parts));
    frame.server.add(AccessService, createAccessHandlers(parts));
    frame.server.add(SealService, createSealHandlers(parts));
    frame.server.add(KeyService, createKeyHandlers(parts));
    frame.server.add(TransitService, createTransitHandlers(parts));
    frame.server.add(SecretService, createSecretHandlers(parts));
    frame.server.add(AuditLogService, createAuditLogHandlers(parts.audit));
    frame.server.add(AuditIntakeService, createAuditIntakeHandlers(parts.audit));
    frame.server.add(AnomalyService, createAnomalyHandlers(parts));
    frame.server.useAuditor(parts.auditor);
    addLoops(frame, pool, parts);
    const { operatorSocket: path } = config.current;
    // Before the port: that one waits for a certificate, and so for the unsealing.
    if (path !== undefined) {
      const handlers = createSealHandlers(parts);
      await openOperatorSocket(frame, { path, handlers, auditor: parts.auditor });
    }
  } catch (error) {
    await frame[Symbol.asyncDispose]();
    throw error;
  }
  const running = await frame.start();
  // Listening turned health on; a sealed vault does not serve.
  parts.showSeal();
  return running;
}

/** Its own certificate vault signs itself. Sealed it cannot: then its port waits for it, if there is another way to open vault. */
function provideOwnIssuer(
  frame: ServiceFrame,
  config: VaultConfig,
  vault: SecureVault,
  authority: CertificateAuthority,
): void {
  const issue = async (requestPem: string) => {
    // The loops do not run yet at the start.
    if (vault.sealReason !== undefined) await vault.follow();
    return authority.issue("vault", requestPem);
  };
  const waitsForUnseal = config.operatorSocket !== undefined;
  frame.provideIssuer(issue, (error) => {
    const isSealed = error instanceof NexusError && error.reason === "VAULT_SEALED";
    return NexusError.is(error, "unavailable") || (isSealed && waitsForUnseal);
  });
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
  usePool(frame, pool);
  await frame.untilUp("postgres", () => migrate(pool, { schema: SCHEMA, directory: MIGRATIONS }));
  return pool;
}

type Parts = ReturnType<typeof createParts>;

function createParts(frame: ServiceFrame, config: VaultConfig, pool: Pool) {
  const { ids } = frame;
  const events = createVaultEvents(frame.metrics, frame.logger);
  const gate = createGate(config.loginConcurrency, config.loginQueueMax);
  const boxes = createBoxStore(pool);
  const peppers = new Peppers({ current: config.passwordPepperVersion, boxes });
  const crypto = new CryptoManager({
    keyEncryptionKey: keyOf(config.keyEncryptionKey),
    passwordIterations: config.passwordIterations,
    peppers,
    gate,
  });
  const { auditor, backlog } = createVaultAuditor(frame, { pool, crypto });
  const transactions = createTransactions(pool, auditor.system);
  const mutations = createMutations(pool, auditor.system);
  const audit = createAuditLog(config, { pool, crypto, boxes, events, backlog });
  const verified = createRevocationSet();
  const shared = { transactions, mutations, crypto, events, ids, tokens: TOKEN_FORMAT };
  const identity = createIdentity(frame, config, { pool, verified, shared });
  const { principals, revocations, signingKeys } = identity;
  const { vault, keyring, keyStore, sweepKeys, showSeal } = createSealing(frame, config, {
    pool,
    shared,
    boxes,
    parts: [
      digestPart(crypto, boxes),
      audit.auditSigner,
      signingPart(signingKeys),
      principalsPart(config, { principals, crypto, events, peppers }),
    ],
  });
  addGauges(frame.metrics, { gate, revocations, vault });
  const digestBody = (body: Uint8Array) => crypto.digest("request-body", body);
  return {
    auditor,
    audit,
    ...createAnomalies({ pool, ids, log: audit.auditStore, events }),
    ...identity,
    vault,
    keyStore,
    transit: new TransitEngine(keyStore),
    ...createSecrets(frame, config, {
      ...shared,
      pool,
      keyring,
      keyStore,
      keys: signingKeys,
      book: identity.book,
    }),
    authority: createCertificates(config, { transactions, crypto, events, ids, pool }),
    passwords: createPasswordHelper(config),
    streamMaxBytes: config.streamMaxBytes,
    sweepKeys,
    showSeal,
    mutations,
    events,
    digestBody,
    verified,
  };
}

/** Passwords of tenants' own users, behind a gate of their own: logins must not wait for them. */
function createPasswordHelper(config: VaultConfig): PasswordHelper {
  const gate = createGate(1, HELPER_QUEUE_MAX);
  return new PasswordHelper({ iterations: config.passwordIterations, gate });
}

function createGate(concurrency: number, queueMax: number): AdmissionGate {
  const nowMs = () => performance.now();
  return new AdmissionGate({
    concurrency,
    queueMax,
    expectedMs: PASSWORD_CHECK_EXPECTED_MS,
    nowMs,
  });
}

/** Everything that a first call needs: what verifies tokens, and, with a root key, all keys and the principals. Repeatable. */
async function openParts({ signingKeys, revocations, book, vault }: Parts): Promise<void> {
  await signingKeys.reload();
  await revocations.refresh();
  await book.refresh();
  await vault.start();
}

function addLoops(frame: ServiceFrame, pool: Pool, parts: Parts): void {
  const specs = vaultLoops({
    revocations: parts.revocations,
    signingKeys: parts.signingKeys,
    auditFeed: parts.audit.auditFeed,
    flushDenials: () => parts.auditor.flushDenials(),
    vault: parts.vault,
    keyStore: parts.keyStore,
    secrets: parts.secrets,
    sweepKeys: parts.sweepKeys,
    maintainCa: () => parts.authority.maintain(),
    clock: frame.clock,
    onReadFailed: (what, error) => parts.events.readFailed(what, error),
    deleteEnded: (signal) => deleteEnded(pool, signal),
    pruneVerifier: (nowMs) => parts.verified.prune(nowMs),
  });
  for (const spec of specs) frame.loop(spec);
  const { auditLog, auditFeed, hearBacklog: onBacklog } = parts.audit;
  addFollowing((spec) => frame.loop(spec), {
    ...parts,
    auditLog,
    auditFeed,
    onBacklog,
    look: createStandingReader(pool),
    onReadFailed: (what, error) => parts.events.readFailed(what, error),
  });
}
