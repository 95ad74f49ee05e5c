import type { Logger } from "@nexus/shared";
import type { Metrics } from "@nexus/telemetry";
import type { AnomalyEvents } from "./domain/anomaly/anomaly-desk.ts";
import type { AuditLogEvents } from "./domain/audit/audit-log.ts";
import type { BootstrapEvents } from "./domain/bootstrap.ts";
import type { CaEvents } from "./domain/certificate-authority.ts";
import type { KeyEvents } from "./domain/keys/key-store.ts";
import type { NamedKey } from "./domain/keys/named-key.ts";
import type { AuthEvents } from "./domain/ports.ts";
import type { SecretLeaseEvents } from "./domain/secrets/secret-leases.ts";
import type { SecretEvents } from "./domain/secrets/secret-store.ts";
import type { SealEvents } from "./domain/secure-vault.ts";

/** Everything that happens in vault, as metric and log line. Ids go to the log only, credentials nowhere. */
export interface VaultEvents
  extends AuthEvents,
    BootstrapEvents,
    CaEvents,
    KeyEvents,
    SecretEvents,
    SecretLeaseEvents,
    SealEvents,
    AnomalyEvents,
    AuditLogEvents {
  /** The periodic reading of revocations or keys failed. */
  readFailed(what: string, error: unknown): void;
}

/** Creates the events of vault. */
export function createVaultEvents(metrics: Metrics, logger: Logger): VaultEvents {
  return {
    ...createAuthEvents(metrics, logger),
    ...createCaEvents(metrics, logger),
    ...createKeyEvents(metrics, logger),
    ...createSecretEvents(metrics, logger),
    ...createSealEvents(metrics, logger),
    ...createAuditEvents(metrics, logger),
    ...createAnomalyEvents(metrics, logger),
    ...createUpkeepEvents(metrics, logger),
  };
}

function createCaEvents(metrics: Metrics, logger: Logger): CaEvents {
  const issued = metrics.counter({
    name: "certificates_issued_total",
    help: "Certificates issued to services.",
  });
  return {
    authorityMade(caId, signsFromMs) {
      const signsFrom = new Date(signsFromMs).toISOString();
      logger.info({ ca_id: caId, signs_from: signsFrom }, "certificate authority made");
    },
    certificateIssued(service, caId, notAfterMs) {
      issued.inc();
      const until = new Date(notAfterMs).toISOString();
      logger.info({ to: service, ca_id: caId, until }, "certificate issued");
    },
  };
}

function createAuthEvents(metrics: Metrics, logger: Logger): AuthEvents {
  const proofs = metrics.counter({
    name: "proofs_total",
    help: "Proofs of identity by method and outcome; the outcome is `accepted` or a reason.",
    labels: ["method", "outcome"],
  });
  const revocations = metrics.counter({
    name: "revocations_total",
    help: "Revocations by what they take back.",
    labels: ["target"],
  });
  const lockouts = metrics.counter({
    name: "login_lockouts_total",
    help: "Login names locked after too many failures.",
  });
  const rotations = metrics.counter({
    name: "signing_key_rotations_total",
    help: "Rotations of the signing key by this replica.",
  });
  return {
    proofAccepted(method, { namespace, principalId }) {
      proofs.inc({ method, outcome: "accepted" });
      logger.debug({ method, namespace, principal_id: principalId }, "proof accepted");
    },
    proofRefused(method, reason) {
      proofs.inc({ method, outcome: reason });
      logger.info({ method, reason }, "proof refused");
    },
    loginLocked(namespace, principalId) {
      lockouts.inc();
      logger.warn({ namespace, principal_id: principalId }, "login locked after too many failures");
    },
    familyReused(namespace, familyId) {
      revocations.inc({ target: "family" });
      logger.warn({ namespace, family_id: familyId }, "refresh token reused, family revoked");
    },
    revoked({ target, namespace, id, revision }) {
      revocations.inc({ target });
      const fields = { target, namespace, id, revision: revision.toString() };
      logger.info(fields, "revocation committed");
    },
    passwordRehashed({ namespace, principalId }) {
      logger.info({ namespace, principal_id: principalId }, "password hash brought up to policy");
    },
    principalCreated({ namespace, principalId, kind }) {
      logger.info({ namespace, principal_id: principalId, kind }, "principal created");
    },
    principalDisabled({ namespace, principalId }) {
      revocations.inc({ target: "principal" });
      logger.info({ namespace, principal_id: principalId }, "principal disabled");
    },
    principalEnabled({ namespace, principalId }) {
      logger.info({ namespace, principal_id: principalId }, "principal enabled");
    },
    loginUnlocked({ namespace, principalId }) {
      logger.info({ namespace, principal_id: principalId }, "login unlocked");
    },
    passwordReplaced({ namespace, principalId }, by) {
      revocations.inc({ target: "principal" });
      logger.info({ namespace, principal_id: principalId, by }, "password replaced");
    },
    secretRotated({ namespace, principalId }) {
      logger.info({ namespace, principal_id: principalId }, "client secret rotated");
    },
    signingKeyRotated(currentKid, nextKid) {
      rotations.inc();
      logger.info({ current_key_id: currentKid, next_key_id: nextKid }, "signing key rotated");
    },
  };
}

function createKeyEvents(metrics: Metrics, logger: Logger): KeyEvents {
  const changes = metrics.counter({
    name: "key_changes_total",
    help: "Changes of named keys by this replica, by kind.",
    labels: ["change"],
  });
  const rewraps = metrics.counter({
    name: "key_versions_rewrapped_total",
    help: "Versions of named keys brought under a newer namespace key.",
  });
  const fields = ({ namespace, name, keyId, latestVersion }: NamedKey) => ({
    namespace,
    key: name,
    key_id: keyId,
    version: latestVersion,
  });
  return {
    keyCreated(key) {
      changes.inc({ change: "created" });
      logger.info(fields(key), "key created");
    },
    keyRotated(key, cause) {
      changes.inc({ change: "rotated" });
      logger.info({ ...fields(key), cause }, "key rotated");
    },
    keyChanged(key, change) {
      changes.inc({ change });
      logger.info({ ...fields(key), change }, "key changed");
    },
    keyRotationFailed(key, error) {
      changes.inc({ change: "rotation_failed" });
      logger.warn({ ...fields(key), err: error }, "key could not be rotated");
    },
    versionsRewrapped(count) {
      rewraps.inc(count);
      logger.info({ count }, "key versions rewrapped");
    },
    versionsUnreadable(count) {
      logger.error({ count }, "key versions do not open under their namespace key; left out");
    },
  };
}

function createSecretEvents(metrics: Metrics, logger: Logger): SecretEvents & SecretLeaseEvents {
  const changes = metrics.counter({
    name: "secret_changes_total",
    help: "Changes of secrets by this replica, by kind.",
    labels: ["change"],
  });
  const rewraps = metrics.counter({
    name: "secret_versions_rewrapped_total",
    help: "Versions of secrets brought under a newer namespace key.",
  });
  const revocations = metrics.counter({
    name: "secret_leases_revoked_total",
    help: "Leases on secrets that were ended before their time by somebody else than their holder.",
  });
  return {
    secretChanged({ namespace, path }, change) {
      changes.inc({ change });
      logger.info({ namespace, path, change }, "secret changed");
    },
    secretLeasesRevoked({ namespace, prefix }, count) {
      revocations.inc(count);
      logger.info({ namespace, prefix, count }, "leases on secrets revoked");
    },
    secretsRewrapped(count) {
      rewraps.inc(count);
      logger.info({ count }, "secret versions rewrapped");
    },
    secretsUnreadable(count) {
      logger.error({ count }, "secret versions do not open under their namespace key; left out");
    },
  };
}

function createSealEvents(metrics: Metrics, logger: Logger): SealEvents {
  const rewraps = metrics.counter({
    name: "keys_rewrapped_total",
    help: "Stored keys brought under a newer key above them.",
    labels: ["what"],
  });
  return {
    unsealed(source, rootKeyId) {
      logger.info({ source, root_key_id: rootKeyId }, "vault unsealed");
    },
    sealed(reason) {
      logger.warn({ reason }, "vault is sealed: every call that needs a key is refused");
    },
    recoveryMissing() {
      const hint = "set NEXUS_VAULT_RECOVERY_PUBLIC_KEY";
      logger.warn(`no recovery key: losing the root key loses everything; ${hint}`);
    },
    keysRewrapped(what, count) {
      rewraps.inc({ what }, count);
      logger.info({ what, count }, "stored keys rewrapped");
    },
    tenantKeysUnreadable(count) {
      logger.error({ count }, "tenant keys do not open under the root key; left out");
    },
  };
}

function createAuditEvents(metrics: Metrics, logger: Logger): AuditLogEvents {
  const sequenced = metrics.counter({
    name: "audit_entries_total",
    help: "Entries of the audit log that this replica gave a place.",
  });
  const quarantined = metrics.counter({
    name: "audit_entries_quarantined_total",
    help: "Entries of other services that could not be taken as they are; the log has a notice of each. Any is a fault or an attack.",
    labels: ["service"],
  });
  const tampered = metrics.counter({
    name: "audit_tampered_total",
    help: "Times that this replica refused to go on from a changed audit log. Any is an alarm.",
  });
  return {
    auditSequenced(count, size) {
      sequenced.inc(count);
      logger.debug({ count, size }, "audit entries sequenced");
    },
    auditEntriesQuarantined(service, count) {
      quarantined.inc({ service }, count);
      logger.error({ from: service, count }, "audit entries quarantined");
    },
    auditTampered(error) {
      tampered.inc();
      logger.error({ err: error }, "THE AUDIT LOG WAS CHANGED: it gets no further checkpoint");
    },
  };
}

function createUpkeepEvents(
  metrics: Metrics,
  logger: Logger,
): Pick<VaultEvents, "readFailed" | keyof BootstrapEvents> {
  const failures = metrics.counter({
    name: "read_failures_total",
    help: "Failed periodic readings of revocations and signing keys.",
    labels: ["what"],
  });
  return {
    readFailed(what, error) {
      failures.inc({ what });
      logger.warn({ what, err: error }, "reading failed, trying again");
    },
    adminCreated() {
      logger.info("administrator created");
    },
    adminPasswordGenerated(password) {
      // The one secret that is ever logged, on purpose and once: there is no other way to hand it over.
      const hint = "change it, or set NEXUS_BOOTSTRAP_ADMIN_PASSWORD before the first start";
      logger.warn(`generated password of admin (shown only once; ${hint}): ${password}`);
    },
    serviceReady(name, change) {
      logger.info({ principal_id: name, change }, "service principal ready");
    },
    peppersNotCounted(error) {
      logger.warn({ err: error }, "passwords were not counted by their peppers");
    },
    peppersCounted({ version, previous, refused, acceptsAll }) {
      if (previous > 0) {
        logger.info({ version, previous }, "passwords follow to the pepper at their next login");
      }
      if (refused === 0) return;
      const hint = `with NEXUS_VAULT_PASSWORD_PEPPER_VERSION=${acceptsAll} all of them can`;
      logger.warn(
        { version, refused },
        `passwords under a pepper of before cannot log in: ${hint}`,
      );
    },
  };
}

function createAnomalyEvents(metrics: Metrics, logger: Logger): AnomalyEvents {
  const findings = metrics.counter({
    name: "anomalies_total",
    help: "What detectors found in the audit log, by kind and severity.",
    labels: ["kind", "severity"],
  });
  const dropped = metrics.counter({
    name: "anomalies_dropped_total",
    help: "What detectors found and is in no alert, as too many are open.",
  });
  return {
    alertRaised({ alertId, severity, evidence, namespace, principalId, count }) {
      const kind = evidence.detector;
      findings.inc({ kind, severity });
      if (count > 1) return;
      const about = { namespace, principal_id: principalId };
      logger.warn({ alert_id: alertId, kind, severity, ...about }, "alert raised");
    },
    findingsDropped(count) {
      dropped.inc(count);
      logger.error({ count }, "too many alerts are open: findings were dropped");
    },
  };
}
