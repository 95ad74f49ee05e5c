import type { Pool } from "@nexus/postgres";
import type { ServiceFrame } from "@nexus/runtime";
import { createTaskLeases } from "../clients/task-leases.ts";
import type { VaultConfig } from "../config.ts";
import type { PolicyBook } from "../domain/access/policy-book.ts";
import type { KeyStore } from "../domain/keys/key-store.ts";
import type { TenantKeyring } from "../domain/keys/tenant-keyring.ts";
import { OwnTokens, type OwnTokensOptions } from "../domain/own-tokens.ts";
import { SecretAccess } from "../domain/secrets/secret-access.ts";
import { SecretLeases, type SecretLeasesOptions } from "../domain/secrets/secret-leases.ts";
import { SecretSealer } from "../domain/secrets/secret-sealer.ts";
import { SecretStore, type SecretStoreOptions } from "../domain/secrets/secret-store.ts";
import { TaskFence } from "../domain/secrets/task-fence.ts";
import { createSecretLeaseTable } from "../store/secret-lease-store.ts";
import { createSecretReader } from "../store/secret-store.ts";

/** What the secrets of tenants lie on. */
export interface SecretsDeps
  extends Pick<SecretStoreOptions, "mutations" | "ids">,
    Pick<OwnTokensOptions, "keys" | "tokens"> {
  readonly pool: Pool;
  readonly keyring: TenantKeyring;
  readonly keyStore: KeyStore;
  readonly book: PolicyBook;
  readonly events: SecretStoreOptions["events"] & SecretLeasesOptions["events"];
}

/** The secrets of tenants, and who holds them. */
export function createSecrets(frame: ServiceFrame, config: VaultConfig, deps: SecretsDeps) {
  const { pool, keyring } = deps;
  const sealer = new SecretSealer(keyring);
  const fence = createFence(frame, config, deps);
  const shared = { ...deps, sealer, fence, access: new SecretAccess(deps.book) };
  const secrets = new SecretStore({ ...shared, secrets: createSecretReader(pool) });
  const leases = createSecretLeaseTable(pool);
  return { secrets, secretLeases: new SecretLeases({ ...shared, secrets, leases }) };
}

/** The way to the orchestrator, which is dialled at the first question only: it starts after vault. */
function createFence(frame: ServiceFrame, config: VaultConfig, deps: SecretsDeps): TaskFence {
  const { keyStore } = deps;
  const ttlMs = config.accessTokenTtlMs;
  const tokens = new OwnTokens({ ...deps, nowMs: () => keyStore.nowMs, ttlMs });
  const leases = createTaskLeases(
    frame.channel(config.orchestratorAddress, "orchestrator"),
    tokens,
  );
  return new TaskFence(leases, { nowMs: () => performance.now() });
}
