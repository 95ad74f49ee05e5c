import type { Pool } from "@nexus/postgres";
import type { ServiceFrame } from "@nexus/runtime";
import type { VaultConfig } from "../config.ts";
import type { CryptoManager } from "../domain/crypto-manager.ts";
import { type KeyEvents, KeyStore, type KeyStoreOptions } from "../domain/keys/key-store.ts";
import { SecretCache } from "../domain/keys/secret-cache.ts";
import { TenantKeyring } from "../domain/keys/tenant-keyring.ts";
import type { BoxStore } from "../domain/sealed-box.ts";
import { type SealEvents, type SealedPart, SecureVault } from "../domain/secure-vault.ts";
import { createNamedKeyReader } from "../store/named-key-store.ts";
import { createSealStore } from "../store/seal-store.ts";
import { createTenantKeyStore } from "../store/tenant-key-store.ts";
import { recoveryKeyReader, rootKeyProvider } from "./root-keys.ts";

/** The key hierarchy and its master. */
export function createSealing(frame: ServiceFrame, config: VaultConfig, deps: SealingDeps) {
  const { pool, shared, boxes, parts } = deps;
  const { crypto, events } = shared;
  const cache = { max: config.keyCacheMax, ttlMs: config.keyCacheTtlMs, clock: frame.clock };
  const keyring = new TenantKeyring({
    store: createTenantKeyStore(pool),
    recoveryPublicKey: keyOf(config.recoveryPublicKey),
    cache,
  });
  const secrets = new SecretCache(cache);
  const keys = createNamedKeyReader(pool);
  const keyStore = new KeyStore({ ...shared, keys, keyring, secrets, clock: frame.clock });
  const showSeal = () => frame.server.setServing(vault.sealReason === undefined, "sealed");
  const vault = new SecureVault({
    provider: rootKeyProvider(frame, config),
    recoveryPrivateKey: recoveryKeyReader(config),
    seals: createSealStore(pool),
    keyring,
    boxes,
    crypto,
    parts: [...parts, { open: () => keyStore.refresh(), close: () => keyStore.close() }],
    events,
    onChange: showSeal,
  });
  frame.defer("keys in memory", () => vault.close());
  frame.check("seal", () => assertOpen(vault));
  const sweepKeys = () => {
    keyring.sweep();
    secrets.sweep();
  };
  return { vault, keyring, keyStore, sweepKeys, showSeal };
}

/** What lies under the key hierarchy. */
export interface SealingDeps {
  readonly pool: Pool;
  readonly shared: Pick<KeyStoreOptions, "transactions" | "mutations" | "ids"> & {
    readonly crypto: CryptoManager;
    readonly events: SealEvents & KeyEvents;
  };
  readonly boxes: BoxStore;
  readonly parts: readonly SealedPart[];
}

/** A key of the configuration. */
export function keyOf(base64: string | undefined): Buffer | undefined {
  return base64 === undefined ? undefined : Buffer.from(base64, "base64");
}

/** Says in /ready that vault is sealed, and why. */
function assertOpen(vault: SecureVault): void {
  if (vault.sealReason !== undefined) throw new Error(`sealed: ${vault.sealReason}`);
}
