import type { Clock } from "@nexus/shared";
import type { AuditFeed } from "../domain/audit/audit-feed.ts";
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
  readonly vault: SecureVault;
  readonly auditFeed: AuditFeed;
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

/** The stream promises a sign of life every 5 s. */
export const REVOCATION_BEAT_MS = 4000;
/** How soon a key published by another replica is known here; within KEY_SPREAD_MS. */
const KEY_RELOAD_MS = 1000;
const KEY_MAINTENANCE_MS = 60_000;
const CA_MAINTENANCE_MS = 60_000;
/** Keys under an older root key or tenant key are moved in small steps, so that callers do not notice. */
const REWRAP_MS = 2000;
const KEY_SWEEP_MS = 5000;
const KEY_ROTATION_MS = 10_000;
const KEY_USE_FLUSH_MS = 5000;
const CLEANUP_MS = 60_000;
const AUDIT_BEAT_MS = 4000;
const AUDIT_DENIALS_MS = 1000;

/** Lists the background work of vault beside what follows the database. */
export function vaultLoops(deps: LoopDeps): readonly LoopSpec[] {
  const { revocations, vault, signingKeys, keyStore, secrets, clock, onReadFailed } = deps;
  const whileOpen = (work: () => Promise<unknown>) => async () => {
    if (vault.sealReason === undefined) await work();
  };
  const reading = (what: string, read: () => Promise<void>) => () =>
    read().catch((error: unknown) => onReadFailed(what, error));
  return [
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
    { name: "audit-beat", intervalMs: AUDIT_BEAT_MS, step: async () => deps.auditFeed.beat() },
    {
      name: "audit-denials",
      intervalMs: AUDIT_DENIALS_MS,
      step: reading("refusals", deps.flushDenials),
    },
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
