import type { Pool } from "@nexus/postgres";
import type { TenantKeyring } from "../domain/keys/tenant-keyring.ts";
import { SecretLeases, type SecretLeasesOptions } from "../domain/secrets/secret-leases.ts";
import { SecretSealer } from "../domain/secrets/secret-sealer.ts";
import { SecretStore, type SecretStoreOptions } from "../domain/secrets/secret-store.ts";
import { createSecretLeaseTable } from "../store/secret-lease-store.ts";
import { createSecretReader } from "../store/secret-store.ts";

/** What the secrets of tenants lie on. */
export interface SecretsDeps extends Pick<SecretStoreOptions, "mutations" | "ids"> {
  readonly pool: Pool;
  readonly keyring: TenantKeyring;
  readonly events: SecretStoreOptions["events"] & SecretLeasesOptions["events"];
}

/** The secrets of tenants, and who holds them. */
export function createSecrets({ pool, keyring, ...deps }: SecretsDeps) {
  const sealer = new SecretSealer(keyring);
  const secrets = new SecretStore({ ...deps, sealer, secrets: createSecretReader(pool) });
  const leases = createSecretLeaseTable(pool);
  return { secrets, secretLeases: new SecretLeases({ ...deps, secrets, leases }) };
}
