import type { AuthManager } from "../domain/auth-manager.ts";
import type { KeyStore } from "../domain/keys/key-store.ts";
import type { PasswordHelper } from "../domain/password-helper.ts";
import type { AuthEvents, Mutations } from "../domain/ports.ts";
import type { PrincipalDirectory } from "../domain/principal-directory.ts";
import type { RevocationLog } from "../domain/revocation-log.ts";
import type { SecretLeases } from "../domain/secrets/secret-leases.ts";
import type { SecretStore } from "../domain/secrets/secret-store.ts";
import type { SecureVault } from "../domain/secure-vault.ts";
import type { SigningKeyRing } from "../domain/signing-key-ring.ts";
import type { TransitEngine } from "../domain/transit-engine.ts";
import type { DigestBody } from "./request-key.ts";

/** What the handlers of vault work with. */
export interface VaultHandlerDeps {
  readonly auth: AuthManager;
  readonly directory: PrincipalDirectory;
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
