import { createHash, randomBytes } from "node:crypto";
import type { Namespace } from "@nexus/shared";
import { AEAD_KEY_BYTES } from "../aead.ts";
import { openHpke, sealHpke, x25519PublicKey } from "../crypto/hpke.ts";
import { unwrapKeyFor, wrapKeyFor } from "../crypto/key-wrap.ts";
import { sealedKeyUnreadable, vaultSealed } from "../errors.ts";
import type { RootKeys } from "../root-key.ts";
import { RewrapPass, type RewrapStep } from "./rewrap-pass.ts";
import { SecretCache, type SecretCacheOptions } from "./secret-cache.ts";
import type {
  RecoveryBox,
  TenantKeyCounts,
  TenantKeyRow,
  TenantKeyStore,
  WrapTargets,
} from "./tenant-key.ts";
import { tenantKeyPlace } from "./tenant-key.ts";

/** What a TenantKeyring needs. */
export interface TenantKeyringOptions {
  readonly store: TenantKeyStore;
  /** X25519; every tenant key is sealed to it as well. Undefined: losing the root key loses everything. */
  readonly recoveryPublicKey: Buffer | undefined;
  readonly cache: SecretCacheOptions;
}

/** A secret under a tenant's key. */
export interface WrappedByTenant {
  readonly tenantKeyVersion: number;
  readonly box: Buffer;
}

const HPKE_INFO = Buffer.from("nexus/vault/recovery/v1");

/** The name of a recovery key, computed from its public half. */
export function recoveryKeyId(publicKey: Uint8Array): string {
  return createHash("sha256")
    .update("nexus/recovery-key-id/v1")
    .update(publicKey)
    .digest("hex")
    .slice(0, 16);
}

/** The second level of the hierarchy: one random key per tenant and version, which wraps that tenant's keys.
 *
 * The root key opens tenant keys and sees nothing else, so changing it costs one row per tenant. Without a root key
 * everything here answers precondition/VAULT_SEALED. */
export class TenantKeyring {
  readonly #options: TenantKeyringOptions;
  readonly #cache: SecretCache;
  readonly #rewrap = new RewrapPass<TenantKeyRow>();
  readonly #recoveryKeyId: string | undefined;
  #root: RootKeys | undefined;
  #recoveryPrivateKey: Buffer | undefined;

  constructor(options: TenantKeyringOptions) {
    this.#options = options;
    this.#cache = new SecretCache(options.cache);
    const { recoveryPublicKey } = options;
    this.#recoveryKeyId =
      recoveryPublicKey === undefined ? undefined : recoveryKeyId(recoveryPublicKey);
  }

  /** Opened tenant keys in memory. */
  get size(): number {
    return this.#cache.size;
  }

  /** Takes a root key into use, and the private recovery key for a restore. Takes both over. */
  open(root: RootKeys, recoveryPrivateKey?: Buffer): void {
    this.close();
    this.#root = root;
    this.#recoveryPrivateKey = recoveryPrivateKey;
  }

  /** Forgets every key. */
  close(): void {
    this.#root?.close();
    this.#root = undefined;
    this.#recoveryPrivateKey?.fill(0);
    this.#recoveryPrivateKey = undefined;
    this.#cache.deleteAll();
  }

  /** Forgets keys whose time in memory is over. */
  sweep(): void {
    this.#cache.sweep();
  }

  /** The version that wraps; makes the first one of a tenant. */
  async currentVersion(namespace: Namespace): Promise<number> {
    const newest = await this.#options.store.newest(namespace);
    if (newest !== undefined) return newest.version;
    await this.#create(namespace, 1);
    return 1;
  }

  /** Makes the next version, which wraps from now on; older ones stay until nothing is under them. Two at once make
   * one. */
  async rotate(namespace: Namespace): Promise<number> {
    const version = (await this.currentVersion(namespace)) + 1;
    await this.#create(namespace, version);
    return version;
  }

  /** Wraps a secret under the tenant's newest key, for one place. */
  async wrap(
    namespace: Namespace,
    place: Uint8Array,
    secret: Uint8Array,
  ): Promise<WrappedByTenant> {
    const tenantKeyVersion = await this.currentVersion(namespace);
    const box = await this.#use(namespace, tenantKeyVersion, (key) =>
      wrapKeyFor(place, key, secret),
    );
    return { tenantKeyVersion, box };
  }

  /** Opens a secret. Errors: data_loss/SEALED_KEY_UNREADABLE. */
  async unwrap(namespace: Namespace, place: Uint8Array, wrapped: WrappedByTenant): Promise<Buffer> {
    const secret = await this.#use(namespace, wrapped.tenantKeyVersion, (key) =>
      unwrapKeyFor(place, key, wrapped.box),
    );
    if (secret === undefined) throw sealedKeyUnreadable();
    return secret;
  }

  /** Derives something from one version of a tenant's key, in one synchronous step. */
  derive<T>(namespace: Namespace, version: number, derive: (key: Buffer) => T): Promise<T> {
    return this.#use(namespace, version, derive);
  }

  /** Says whether the tenant has a key yet. */
  async exists(namespace: Namespace): Promise<boolean> {
    return (await this.#options.store.newest(namespace)) !== undefined;
  }

  /** Says whether a root key opens the stored key of this tenant. */
  async fits(namespace: Namespace, root: RootKeys): Promise<boolean> {
    const row = await this.#options.store.newest(namespace);
    const key = row === undefined ? undefined : await root.unwrap(tenantKeyPlace(row), row.wrapped);
    key?.fill(0);
    return key !== undefined;
  }

  /** Brings some tenant keys under the current root key and the configured recovery key. */
  async rewrapStale(): Promise<RewrapStep> {
    const targets = await this.targets();
    return this.#rewrap.step(
      (after, limit) => this.#options.store.listStale(targets, after, limit),
      (row) => this.#rewrapRow(row),
    );
  }

  /** How many tenant keys there are, and how many of them another root or recovery key still holds. */
  async count(): Promise<TenantKeyCounts> {
    return this.#options.store.count(await this.targets());
  }

  /** What every tenant key should be under. Errors: precondition/VAULT_SEALED. */
  async targets(): Promise<WrapTargets> {
    return { rootKeyId: await this.#rootKeys().currentId(), recoveryKeyId: this.#recoveryKeyId };
  }

  async #rewrapRow(row: TenantKeyRow): Promise<void> {
    const key = await this.#unwrapRow(row);
    try {
      const { wrapped, recovery } = await this.#wrapRow(row, key);
      // Without a configured recovery key the old wrapping is better than none.
      const rewrapped = { ...row, wrapped, recovery: recovery ?? row.recovery };
      await this.#options.store.replace(row, rewrapped);
    } finally {
      key.fill(0);
    }
  }

  #rootKeys(): RootKeys {
    if (this.#root === undefined) throw vaultSealed();
    return this.#root;
  }

  async #create(namespace: Namespace, version: number): Promise<void> {
    const key = randomBytes(AEAD_KEY_BYTES);
    try {
      const wrapped = await this.#wrapRow({ namespace, version }, key);
      await this.#options.store.insertIfAbsent({ namespace, version, ...wrapped });
    } finally {
      key.fill(0);
    }
  }

  async #wrapRow(
    row: Pick<TenantKeyRow, "namespace" | "version">,
    key: Buffer,
  ): Promise<Pick<TenantKeyRow, "wrapped" | "recovery">> {
    const place = tenantKeyPlace(row);
    return {
      wrapped: await this.#rootKeys().wrap(place, key),
      recovery: this.#sealForRecovery(place, key),
    };
  }

  #sealForRecovery(place: Buffer, key: Buffer): RecoveryBox | undefined {
    const { recoveryPublicKey } = this.#options;
    if (recoveryPublicKey === undefined || this.#recoveryKeyId === undefined) return undefined;
    const binding = { info: HPKE_INFO, associatedData: place };
    return {
      recoveryKeyId: this.#recoveryKeyId,
      box: sealHpke(recoveryPublicKey, key, binding),
    };
  }

  #use<T>(namespace: Namespace, version: number, use: (key: Buffer) => T): Promise<T> {
    const load = async () => {
      const row = await this.#options.store.find(namespace, version);
      if (row === undefined) throw sealedKeyUnreadable();
      return this.#unwrapRow(row);
    };
    return this.#cache.use(`${namespace}/${version}`, load, use);
  }

  /** By the root key, or in a restore by the private recovery key. */
  async #unwrapRow(row: TenantKeyRow): Promise<Buffer> {
    const place = tenantKeyPlace(row);
    const key = await this.#rootKeys().unwrap(place, row.wrapped);
    const opened = key ?? this.#recover(place, row.recovery);
    if (opened?.byteLength !== AEAD_KEY_BYTES) throw sealedKeyUnreadable();
    return opened;
  }

  #recover(place: Buffer, recovery: RecoveryBox | undefined): Buffer | undefined {
    const privateKey = this.#recoveryPrivateKey;
    if (privateKey === undefined || recovery === undefined) return undefined;
    if (recoveryKeyId(x25519PublicKey(privateKey)) !== recovery.recoveryKeyId) return undefined;
    return openHpke(privateKey, recovery.box, { info: HPKE_INFO, associatedData: place });
  }
}
