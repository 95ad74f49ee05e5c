import { NexusError, SYSTEM_NAMESPACE } from "@nexus/shared";
import { AEAD_KEY_BYTES } from "./aead.ts";
import { hkdfSha512 } from "./crypto/hkdf.ts";
import type { CryptoManager } from "./crypto-manager.ts";
import { rootKeyMissing, rootKeyWrong, vaultNotInitialised, vaultSealed } from "./errors.ts";
import type { TenantKeyring } from "./keys/tenant-keyring.ts";
import type { AuditLeaf } from "./ports.ts";
import type { RootKeyProvider, RootKeySource, RootKeys } from "./root-key.ts";
import { createLocalRootKeys } from "./root-key.ts";
import type { BoxStore } from "./sealed-box.ts";
import type { Standing } from "./standing.ts";

/** Why vault is sealed. */
export type SealReason = "no_root_key" | "by_operator" | "root_key_unreachable" | "root_key_wrong";

/** The seal that all replicas share. */
export interface SealStore {
  isSealed(): Promise<boolean>;
  setSealed(sealed: boolean, leaf?: AuditLeaf): Promise<void>;
}

/** What sealing and unsealing report. */
export interface SealEvents {
  unsealed(source: RootKeySource, rootKeyId: string): void;
  sealed(reason: SealReason): void;
  recoveryMissing(): void;
  keysRewrapped(what: "tenant-keys" | "boxes", count: number): void;
  tenantKeysUnreadable(count: number): void;
}

/** Something that holds keys or needs them: opened after the root key is there, closed before it goes. */
export interface SealedPart {
  open(): Promise<void>;
  /** Drops every key at once. */
  close(): void;
}

/** What a SecureVault needs. */
export interface SecureVaultOptions {
  /** The configured way to the root key; undefined: vault waits for Unseal. */
  readonly provider: RootKeyProvider | undefined;
  /** The private recovery key, in a restore only. */
  readonly recoveryPrivateKey: () => Promise<Buffer | undefined>;
  readonly seals: SealStore;
  readonly keyring: TenantKeyring;
  readonly boxes: BoxStore;
  readonly crypto: CryptoManager;
  /** Opened in this order, closed in reverse. */
  readonly parts: readonly SealedPart[];
  readonly events: SealEvents;
  /** Called after every seal and unseal. */
  readonly onChange: () => void;
}

/** The top of the key hierarchy, as an operator sees it. */
export interface RootKeyStatus {
  readonly source: RootKeySource;
  readonly rootKeyId: string;
  readonly recoveryKeyId: string | undefined;
  readonly tenantKeys: number;
  readonly staleTenantKeys: number;
}

/** No box is under it, so all of them are stale. */
const NO_VERSION = 0;

interface OpenState {
  readonly source: RootKeySource;
}

/** The master of everything that has a key: opens it all with the root key, in order, and drops it all at a seal.
 *
 * Openings and seals never overlap. A seal drops the keys first and is then told to the other replicas. */
export class SecureVault {
  readonly #options: SecureVaultOptions;
  #state: OpenState | SealReason = "no_root_key";
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: SecureVaultOptions) {
    this.#options = options;
  }

  /** Undefined when open. */
  get sealReason(): SealReason | undefined {
    return typeof this.#state === "string" ? this.#state : undefined;
  }

  /** Opens vault at its start, if a root key is configured and nobody sealed it.
   * Errors: data_loss/SEALED_KEY_UNREADABLE when the configured root key opens nothing; unavailable, of the database. */
  start(): Promise<void> {
    return this.#inTurn(async () => {
      if (await this.#options.seals.isSealed()) this.#state = "by_operator";
      else await this.#openConfigured();
      if (typeof this.#state === "string") this.#options.events.sealed(this.#state);
    });
  }

  /** Says whether follow() would change anything, or try to. */
  isBehind({ isSealed, boxKeyVersion }: Pick<Standing, "isSealed" | "boxKeyVersion">): boolean {
    if (isSealed) return this.sealReason !== "by_operator";
    if (this.sealReason !== undefined) return true;
    const { crypto } = this.#options;
    return !crypto.isOpen || crypto.boxKeyVersion !== boxKeyVersion;
  }

  /** Follows what other replicas did, and tries an unreachable root key again. For a loop. */
  follow(): Promise<void> {
    return this.#inTurn(async () => {
      const sealed = await this.#options.seals.isSealed();
      if (sealed && this.sealReason !== "by_operator") this.#close("by_operator");
      if (!sealed && this.sealReason !== undefined) await this.#tryConfigured();
      // Another replica may have made a new version and sealed with it.
      if (this.sealReason === undefined) await this.#refreshBoxKeys();
    });
  }

  /** Seals every replica, this one before it returns. */
  seal(leaf?: AuditLeaf): Promise<void> {
    return this.#inTurn(async () => {
      this.#close("by_operator");
      await this.#options.seals.setSealed(true, leaf);
    });
  }

  /** Drops every key, as the end of the process should. */
  close(): void {
    this.#dropKeys();
  }

  /** Opens vault with a root key that the caller brings; takes it over.
   * Errors: forbidden/ROOT_KEY_WRONG; precondition/VAULT_NOT_INITIALISED. */
  async unseal(rootKey: Buffer, leaf?: AuditLeaf): Promise<void> {
    const brought = createLocalRootKeys("operator", rootKey);
    try {
      // Not in turn: anybody may call, and only who has the key may make a seal wait.
      await this.#assertFits(brought);
      await this.#inTurn(() => this.#openWith(rootKey, leaf));
    } finally {
      brought.close();
    }
  }

  /** Ends a seal with the configured root key.
   * Errors: precondition/ROOT_KEY_MISSING; unavailable while it cannot be reached. */
  unsealFromProvider(leaf?: AuditLeaf): Promise<void> {
    return this.#inTurn(async () => {
      const { provider, seals } = this.#options;
      if (provider === undefined) throw rootKeyMissing();
      if (this.sealReason !== undefined) await this.#open(await provider());
      await seals.setSealed(false, leaf);
    });
  }

  /** Brings some stored keys under the newest keys above them; for a loop. Not in turn with seals: it may wait for a KMS,
   * and a seal must not. One in the middle of it is refused its keys and ends with precondition/VAULT_SEALED. */
  async rewrap(): Promise<void> {
    if (this.sealReason !== undefined) return;
    const { keyring, events } = this.#options;
    const { moved, unreadable } = await keyring.rewrapStale();
    if (moved > 0) events.keysRewrapped("tenant-keys", moved);
    if (unreadable > 0) events.tenantKeysUnreadable(unreadable);
    await this.#resealBoxes();
  }

  /** Errors: precondition/VAULT_SEALED. */
  async rootKeyStatus(): Promise<RootKeyStatus> {
    if (typeof this.#state === "string") throw vaultSealed();
    const { source } = this.#state;
    const { keyring } = this.#options;
    const [targets, counts] = await Promise.all([keyring.targets(), keyring.count()]);
    return { source, ...targets, tenantKeys: counts.total, staleTenantKeys: counts.stale };
  }

  async #assertFits(root: RootKeys): Promise<void> {
    const { keyring } = this.#options;
    if (await keyring.fits(SYSTEM_NAMESPACE, root)) return;
    throw (await keyring.exists(SYSTEM_NAMESPACE)) ? rootKeyWrong() : vaultNotInitialised();
  }

  /** Ends the seal, with the configured root key if it can be had, else with the one that was brought. */
  async #openWith(rootKey: Buffer, leaf: AuditLeaf | undefined): Promise<void> {
    await this.#options.seals.setSealed(false, leaf);
    if (this.sealReason === undefined) return;
    await this.#tryConfigured();
    if (this.sealReason === undefined) return;
    await this.#open(createLocalRootKeys("operator", Buffer.from(rootKey)));
  }

  async #openConfigured(): Promise<void> {
    const { provider } = this.#options;
    if (provider === undefined) {
      this.#state = "no_root_key";
      return;
    }
    try {
      await this.#open(await provider());
    } catch (error) {
      if (!isRootKeyAway(error)) throw error;
      this.#state = "root_key_unreachable";
    }
  }

  /** As openConfigured, but a root key that does not fit, or may not be read, is a state and no failure: it may fit the
   * next time. */
  async #tryConfigured(): Promise<void> {
    try {
      await this.#openConfigured();
    } catch (error) {
      const unfit = NexusError.is(error, "data_loss") || NexusError.is(error, "precondition");
      if (!unfit) throw error;
      this.#state = "root_key_wrong";
    }
  }

  async #open(root: RootKeys): Promise<void> {
    const { keyring, events, parts, onChange } = this.#options;
    keyring.open(root, await this.#recoveryKeyFor(root));
    try {
      const { rootKeyId, recoveryKeyId } = await keyring.targets();
      await this.#assertMayBegin();
      await this.#refreshBoxKeys();
      await this.#resealBoxes();
      for (const part of parts) await part.open();
      this.#state = { source: root.source };
      onChange();
      events.unsealed(root.source, rootKeyId);
      if (recoveryKeyId === undefined) events.recoveryMissing();
    } catch (error) {
      this.#dropKeys();
      throw error;
    }
  }

  /** Vault's own tenant key is made once, and not by a start that cannot open what is stored: the key would stay, under
   * a root key that may be a mistake. Errors: data_loss/SEALED_KEY_UNREADABLE. */
  async #assertMayBegin(): Promise<void> {
    const { keyring, boxes, crypto } = this.#options;
    if (await keyring.exists(SYSTEM_NAMESPACE)) return;
    for (const box of await boxes.listStale(NO_VERSION)) crypto.assertOpensEarlier(box.name, box);
  }

  async #recoveryKeyFor(root: RootKeys): Promise<Buffer | undefined> {
    try {
      return await this.#options.recoveryPrivateKey();
    } catch (error) {
      root.close();
      throw error;
    }
  }

  #close(reason: SealReason): void {
    const before = this.#state;
    this.#state = reason;
    this.#dropKeys();
    if (before === reason) return;
    this.#options.onChange();
    this.#options.events.sealed(reason);
  }

  #dropKeys(): void {
    const { parts, crypto, keyring } = this.#options;
    for (const part of [...parts].reverse()) part.close();
    crypto.close();
    keyring.close();
  }

  /** Reads vault's own tenant keys, all versions: there are few, and they stay in memory until a seal. */
  async #refreshBoxKeys(): Promise<void> {
    const { keyring, crypto } = this.#options;
    const newest = await keyring.currentVersion(SYSTEM_NAMESPACE);
    if (crypto.isOpen && crypto.boxKeyVersion === newest) return;
    const keys = new Map<number, Buffer>();
    for (let version = 1; version <= newest; version++) {
      keys.set(version, await keyring.derive(SYSTEM_NAMESPACE, version, boxKey));
    }
    crypto.useBoxKeys(keys);
  }

  /** Seals anew what lies under an older key: of an earlier version of vault, or of an earlier tenant key. */
  async #resealBoxes(): Promise<void> {
    const { boxes, crypto, events } = this.#options;
    const stale = await boxes.listStale(crypto.boxKeyVersion);
    for (const box of stale) {
      const plaintext = crypto.open(box.name, box);
      await boxes.replace(box, crypto.seal(box.name, plaintext));
      plaintext.fill(0);
    }
    if (stale.length > 0) events.keysRewrapped("boxes", stale.length);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }
}

/** A KMS that does not answer, as opposed to a database that does not: that one is waited for at the start. */
function isRootKeyAway(error: unknown): boolean {
  return NexusError.is(error, "unavailable", "ROOT_KEY_UNREACHABLE");
}

/** The key of vault's own boxes: another one than wraps its keys. */
function boxKey(tenantKey: Buffer): Buffer {
  const info = "nexus/vault/box/v1";
  return hkdfSha512(tenantKey, { salt: Buffer.alloc(0), info, lengthBytes: AEAD_KEY_BYTES });
}
