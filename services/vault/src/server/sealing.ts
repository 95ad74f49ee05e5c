import type { Pool } from "@nexus/postgres";
import type { ServiceFrame } from "@nexus/runtime";
import type { VaultConfig } from "../config.ts";
import type { CryptoManager } from "../domain/crypto-manager.ts";
import { TenantKeyring } from "../domain/keys/tenant-keyring.ts";
import type { BoxStore } from "../domain/sealed-box.ts";
import { type SealEvents, type SealedPart, SecureVault } from "../domain/secure-vault.ts";
import { createBoxStore } from "../store/box-store.ts";
import { createSealStore } from "../store/seal-store.ts";
import { createTenantKeyStore } from "../store/tenant-key-store.ts";
import { recoveryKeyReader, rootKeyProvider } from "./root-keys.ts";

/** The key hierarchy and its master. */
export function createSealing(frame: ServiceFrame, config: VaultConfig, deps: SealingDeps) {
  const { pool, crypto, parts, events } = deps;
  const keyring = new TenantKeyring({
    store: createTenantKeyStore(pool),
    recoveryPublicKey: keyOf(config.recoveryPublicKey),
    cache: { max: config.keyCacheMax, ttlMs: config.keyCacheTtlMs, clock: frame.clock },
  });
  const showSeal = () => frame.server.setServing(vault.sealReason === undefined);
  const boxes = createBoxStore(pool);
  const vault = new SecureVault({
    provider: rootKeyProvider(frame, config),
    recoveryPrivateKey: recoveryKeyReader(config),
    seals: createSealStore(pool),
    keyring,
    boxes,
    crypto,
    parts: parts(boxes),
    events,
    onChange: showSeal,
  });
  frame.defer("keys in memory", () => vault.close());
  frame.check("seal", () => assertOpen(vault));
  return { keyring, vault, showSeal };
}

/** What lies under the key hierarchy. */
export interface SealingDeps {
  readonly pool: Pool;
  readonly crypto: CryptoManager;
  readonly parts: (boxes: BoxStore) => readonly SealedPart[];
  readonly events: SealEvents;
}

/** A key of the configuration. */
export function keyOf(base64: string | undefined): Buffer | undefined {
  return base64 === undefined ? undefined : Buffer.from(base64, "base64");
}

/** Says in /ready that vault is sealed, and why. */
function assertOpen(vault: SecureVault): void {
  if (vault.sealReason !== undefined) throw new Error(`sealed: ${vault.sealReason}`);
}
