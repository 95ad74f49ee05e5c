import type { SecretService } from "@nexus/proto/vault";
import type { ServiceImplementation } from "@nexus/rpc";
import { createDeleteSecretVersions } from "./delete-secret-versions.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { createDestroySecret } from "./destroy-secret.ts";
import { createDestroySecretVersions } from "./destroy-secret-versions.ts";
import { createGetSecret } from "./get-secret.ts";
import { createGetSecretMetadata } from "./get-secret-metadata.ts";
import { createLeaseSecret } from "./lease-secret.ts";
import { createListSecretLeases } from "./list-secret-leases.ts";
import { createListSecretVersions } from "./list-secret-versions.ts";
import { createListSecrets } from "./list-secrets.ts";
import { createPutSecret } from "./put-secret.ts";
import { createReleaseSecretLease } from "./release-secret-lease.ts";
import { createRenewSecretLease } from "./renew-secret-lease.ts";
import { createRevokeSecretLeases } from "./revoke-secret-leases.ts";
import { createUndeleteSecretVersions } from "./undelete-secret-versions.ts";
import { createUpdateSecretMetadata } from "./update-secret-metadata.ts";

/** Every method of SecretService. */
export function createSecretHandlers(
  deps: VaultHandlerDeps,
): ServiceImplementation<typeof SecretService> {
  return {
    putSecret: createPutSecret(deps),
    getSecret: createGetSecret(deps),
    getSecretMetadata: createGetSecretMetadata(deps),
    updateSecretMetadata: createUpdateSecretMetadata(deps),
    listSecrets: createListSecrets(deps),
    listSecretVersions: createListSecretVersions(deps),
    deleteSecretVersions: createDeleteSecretVersions(deps),
    undeleteSecretVersions: createUndeleteSecretVersions(deps),
    destroySecretVersions: createDestroySecretVersions(deps),
    destroySecret: createDestroySecret(deps),
    leaseSecret: createLeaseSecret(deps),
    renewSecretLease: createRenewSecretLease(deps),
    releaseSecretLease: createReleaseSecretLease(deps),
    revokeSecretLeases: createRevokeSecretLeases(deps),
    listSecretLeases: createListSecretLeases(deps),
  };
}
