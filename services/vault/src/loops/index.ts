import type { Clock } from "@nexus/shared";
import type { PolicyBook } from "../domain/access/policy-book.ts";
import type { AnomalyDesk } from "../domain/anomaly/anomaly-desk.ts";
import type { AuditFeed } from "../domain/audit/audit-feed.ts";
import type { AuditLog } from "../domain/audit/audit-log.ts";
import type { KeyStore } from "../domain/keys/key-store.ts";
import type { RevocationLog } from "../domain/revocation-log.ts";
import type { SecretStore } from "../domain/secrets/secret-store.ts";
import type { SecureVault } from "../domain/secure-vault.ts";
import type { SigningKeyRing } from "../domain/signing-key-ring.ts";

/** One background work of vault. */
export interface LoopSpec {
  readonly name: string;
  readonly intervalMs: number;
  readonly step: (signal: AbortSignal) => Promise<void>;
}

/** What the loops work on. */
export interface LoopDeps {
  readonly revocations: RevocationLog;
  readonly book: PolicyBook;
  readonly vault: SecureVault;
  readonly auditLog: AuditLog;
  readonly auditFeed: AuditFeed;
  readonly anomalyDesk: AnomalyDesk;
  /** Counts the entries that wait for their place. */
  readonly lookAtBacklog: () => Promise<void>;
  /** Enters refusals that were counted. */
  readonly flushDenials: () => Promise<void>;
  readonly signingKeys: SigningKeyRing;
  readonly keyStore: KeyStore;
  readonly secrets: SecretStore;
  /** Drops keys whose time in memory is over. */
  readonly sweepKeys: () => void;
  /** Rotates and retires authorities. */
  readonly maintainCa: () => Promise<void>;
  readonly clock: Clock;
  /** Hears of a reading that failed; the next one follows at the usual time. */
  readonly onReadFailed: (what: string, error: unknown) => void;
  /** Removes rows that have ended. */
  readonly deleteEnded: (signal: AbortSignal) => Promise<number>;
  /** Forgets revocations that have ended in the local verifier. */
  readonly pruneVerifier: (nowMs: number) => void;
}

/** How soon a revocation committed by another replica is seen here. The promise is 1 s for every service, so half of
 * it is left for the stream. A poll of an index costs less than a NOTIFY, which serialises commits. */
export const REVOCATION_POLL_MS = 250;
/** The stream promises a sign of life every 5 s. */
export const REVOCATION_BEAT_MS = 4000;
/** How soon a key published by another replica is known here; within KEY_SPREAD_MS. */
const KEY_RELOAD_MS = 1000;
const KEY_MAINTENANCE_MS = 60_000;
const CA_MAINTENANCE_MS = 60_000;
/** How soon a seal by another replica closes this one; the contract promises a second. */
export const SEAL_POLL_MS = 250;
/** Keys under an older root key or tenant key are moved in small steps, so that callers do not notice. */
const REWRAP_MS = 2000;
const KEY_SWEEP_MS = 5000;
/** How soon a change of a key by another replica is seen here; the contract promises a second. */
const KEY_POLL_MS = 250;
/** How soon a change of policies by another replica is in force here; the contract promises a second. */
const POLICY_POLL_MS = 250;
const KEY_ROTATION_MS = 10_000;
const KEY_USE_FLUSH_MS = 5000;
const CLEANUP_MS = 60_000;
/** How long a committed entry waits for its place; the contract promises a second. */
const AUDIT_SEQUENCE_MS = 200;
const AUDIT_POLL_MS = 250;
const AUDIT_BEAT_MS = 4000;
const AUDIT_DENIALS_MS = 1000;
const AUDIT_BACKLOG_MS = 1000;
/** How soon a leaf is examined once it has its place. */
const ANOMALY_MS = 1000;

/** Lists the background work of vault.
 *
 * The two readings keep their pace when the database is away, where a loop's own pause would grow to half a minute:
 * the promise of one second holds again as soon as it is back. */
export function vaultLoops(deps: LoopDeps): readonly LoopSpec[] {
  const { revocations, book, vault, signingKeys, keyStore, secrets, clock, onReadFailed } = deps;
  const whileOpen = (work: () => Promise<unknown>) => async () => {
    if (vault.sealReason === undefined) await work();
  };
  const reading = (what: string, read: () => Promise<void>) => () =>
    read().catch((error: unknown) => onReadFailed(what, error));
  return [
    {
      name: "revocation-poll",
      intervalMs: REVOCATION_POLL_MS,
      step: reading("revocations", revocations.refresh),
    },
    {
      name: "revocation-beat",
      intervalMs: REVOCATION_BEAT_MS,
      step: async () => revocations.beat(),
    },
    {
      name: "key-reload",
      intervalMs: KEY_RELOAD_MS,
      step: reading("signing keys", signingKeys.reload),
    },
    {
      name: "key-maintenance",
      intervalMs: KEY_MAINTENANCE_MS,
      step: whileOpen(() => signingKeys.maintain()),
    },
    { name: "ca-maintenance", intervalMs: CA_MAINTENANCE_MS, step: whileOpen(deps.maintainCa) },
    { name: "seal-poll", intervalMs: SEAL_POLL_MS, step: reading("seal", () => vault.follow()) },
    {
      name: "rewrap",
      intervalMs: REWRAP_MS,
      step: whileOpen(async () => {
        await vault.rewrap();
        await secrets.rewrapStale();
        // Last, because it removes namespace keys under which nothing is left.
        await keyStore.rewrapStale();
      }),
    },
    ...auditLoops(deps),
    { name: "key-poll", intervalMs: KEY_POLL_MS, step: reading("keys", keyStore.refresh) },
    { name: "policy-poll", intervalMs: POLICY_POLL_MS, step: reading("policies", book.refresh) },
    {
      name: "key-rotation",
      intervalMs: KEY_ROTATION_MS,
      step: (signal) => keyStore.rotateDue(() => vault.sealReason === undefined && !signal.aborted),
    },
    {
      name: "key-use",
      intervalMs: KEY_USE_FLUSH_MS,
      step: () => keyStore.flushDecrypted(),
    },
    { name: "key-sweep", intervalMs: KEY_SWEEP_MS, step: async () => deps.sweepKeys() },
    {
      name: "cleanup",
      intervalMs: CLEANUP_MS,
      async step(signal) {
        revocations.prune(clock.nowMs());
        deps.pruneVerifier(clock.nowMs());
        await deps.deleteEnded(signal);
      },
    },
  ];
}

/** What the audit log does by itself. It keeps its pace when the database was away, as the readings do. */
function auditLoops(deps: LoopDeps): readonly LoopSpec[] {
  const { auditLog, auditFeed, anomalyDesk, lookAtBacklog, flushDenials, onReadFailed } = deps;
  const trying = (what: string, work: () => Promise<void>) => () =>
    work().catch((error: unknown) => onReadFailed(what, error));
  const sequence = async (signal: AbortSignal) => {
    while ((await auditLog.sequence()) && !signal.aborted);
  };
  const examine = async (signal: AbortSignal) => {
    while ((await anomalyDesk.step()) && !signal.aborted);
  };
  return [
    {
      name: "audit-sequence",
      intervalMs: AUDIT_SEQUENCE_MS,
      step: (signal) => trying("audit entries", () => sequence(signal))(),
    },
    { name: "audit-poll", intervalMs: AUDIT_POLL_MS, step: trying("audit log", auditFeed.refresh) },
    { name: "audit-beat", intervalMs: AUDIT_BEAT_MS, step: async () => auditFeed.beat() },
    {
      name: "anomalies",
      intervalMs: ANOMALY_MS,
      step: (signal) => trying("anomalies", () => examine(signal))(),
    },
    {
      name: "audit-backlog",
      intervalMs: AUDIT_BACKLOG_MS,
      step: trying("waiting audit entries", lookAtBacklog),
    },
    {
      name: "audit-denials",
      intervalMs: AUDIT_DENIALS_MS,
      step: trying("refusals", flushDenials),
    },
  ];
}
