import type { VaultConfig } from "../config.ts";
import { type BootstrapOptions, bootstrapPrincipals } from "../domain/bootstrap.ts";
import type { CryptoManager } from "../domain/crypto-manager.ts";
import type { BoxStore } from "../domain/sealed-box.ts";
import type { SealedPart } from "../domain/secure-vault.ts";
import { parseServiceSecrets } from "../domain/service-secrets.ts";
import type { SigningKeyRing } from "../domain/signing-key-ring.ts";
import type { PrincipalStore } from "../store/principal-store.ts";

/** The sealed key from which the digest keys are derived. */
const DIGEST_KEY = "digest-key/1";

/** The key of all digests: of client secrets, refresh tokens and request bodies; and the peppers of passwords. */
export function digestPart(crypto: CryptoManager, boxes: BoxStore): SealedPart {
  return {
    async open() {
      const make = () => crypto.newSealedDigestKey(DIGEST_KEY);
      await crypto.useSealedDigestKey(DIGEST_KEY, await boxes.ensure(DIGEST_KEY, make));
    },
    close: () => crypto.close(),
  };
}

/** The private parts of the signing keys. */
export function signingPart(signingKeys: SigningKeyRing): SealedPart {
  return { open: () => signingKeys.open(), close: () => signingKeys.forgetSigner() };
}

/** The first administrator and the services; they need digests, so they wait for the unsealing. */
export function principalsPart(
  config: VaultConfig,
  deps: Pick<BootstrapOptions, "crypto" | "events" | "peppers"> & {
    readonly principals: PrincipalStore;
  },
): SealedPart {
  const services = parseServiceSecrets(config.bootstrapServiceSecrets ?? "");
  return {
    open: () =>
      bootstrapPrincipals({
        ...deps,
        upkeep: deps.principals,
        adminPassword: config.bootstrapAdminPassword,
        serviceSecrets: "secrets" in services ? services.secrets : new Map(),
      }),
    close() {},
  };
}
