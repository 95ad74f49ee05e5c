import type { AccessDirectory } from "../domain/access/access-directory.ts";
import type { PolicyBook } from "../domain/access/policy-book.ts";
import type { AlertReader } from "../domain/anomaly/alert-ports.ts";
import type { AuditStore, JudgeEntry } from "../domain/audit/audit-entries.ts";
import type { AuditFeed } from "../domain/audit/audit-feed.ts";
import type { AuditLog, AuditLogEvents } from "../domain/audit/audit-log.ts";
import type { AuditSigner } from "../domain/audit/audit-signer.ts";
import type { AuthManager } from "../domain/auth-manager.ts";
import type { CertificateAuthority } from "../domain/certificate-authority.ts";
import type { KeyStore } from "../domain/keys/key-store.ts";
import type { PasswordChanges } from "../domain/password-changes.ts";
import type { PasswordHelper } from "../domain/password-helper.ts";
import type { AuthEvents, Mutations } from "../domain/ports.ts";
import type { PrincipalDirectory } from "../domain/principal-directory.ts";
import type { RevocationLog } from "../domain/revocation-log.ts";
import type { SecretLeases } from "../domain/secrets/secret-leases.ts";
import type { SecretStore } from "../domain/secrets/secret-store.ts";
import type { SecureVault } from "../domain/secure-vault.ts";
import type { SigningKeyRing } from "../domain/signing-key-ring.ts";
import type { TokenIntrospector } from "../domain/token-introspector.ts";
import type { TransitEngine } from "../domain/transit-engine.ts";
import type { DigestName } from "./convert-audit.ts";
import type { DigestBody } from "./request-key.ts";

/** What the handlers of the audit log work with. */
export interface AuditHandlerDeps {
  readonly auditLog: AuditLog;
  readonly auditStore: Pick<AuditStore, "list" | "take">;
  readonly auditFeed: AuditFeed;
  readonly auditSigner: Pick<AuditSigner, "key">;
  readonly digestName: DigestName;
  readonly judgeEntry: JudgeEntry;
  readonly auditEvents: Pick<AuditLogEvents, "auditEntriesQuarantined">;
  /** Errors: unavailable/AUDIT_UNAVAILABLE while too many entries wait for their place. */
  readonly assertAuditRoom: () => void;
}

/** What the handlers of vault work with. */
export interface VaultHandlerDeps {
  readonly auth: AuthManager;
  readonly introspector: TokenIntrospector;
  readonly authority: CertificateAuthority;
  readonly directory: PrincipalDirectory;
  readonly passwordChanges: PasswordChanges;
  readonly accessDirectory: AccessDirectory;
  /** Answers for each resource whether the caller may. */
  readonly book: PolicyBook;
  readonly vault: SecureVault;
  readonly keyStore: KeyStore;
  readonly transit: TransitEngine;
  readonly secrets: SecretStore;
  readonly secretLeases: SecretLeases;
  readonly passwords: PasswordHelper;
  /** Longest body of a stream. */
  readonly streamMaxBytes: number;
  readonly signingKeys: SigningKeyRing;
  readonly mutations: Mutations;
  readonly revocations: RevocationLog;
  readonly events: AuthEvents;
  readonly digestBody: DigestBody;
}

/** What the handlers of alerts work with. */
export interface AlertHandlerDeps {
  readonly alerts: AlertReader;
  readonly mutations: Mutations;
  readonly digestBody: DigestBody;
}
