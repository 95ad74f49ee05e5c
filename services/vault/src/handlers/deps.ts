import type { AuthManager } from "../domain/auth-manager.ts";
import type { AuthEvents, Mutations } from "../domain/ports.ts";
import type { PrincipalDirectory } from "../domain/principal-directory.ts";
import type { RevocationLog } from "../domain/revocation-log.ts";
import type { SecureVault } from "../domain/secure-vault.ts";
import type { SigningKeyRing } from "../domain/signing-key-ring.ts";
import type { DigestBody } from "./request-key.ts";

/** What the handlers of vault work with. */
export interface VaultHandlerDeps {
  readonly auth: AuthManager;
  readonly directory: PrincipalDirectory;
  readonly vault: SecureVault;
  readonly signingKeys: SigningKeyRing;
  readonly mutations: Mutations;
  readonly revocations: RevocationLog;
  readonly events: AuthEvents;
  readonly digestBody: DigestBody;
}
