import { createHmac, hkdfSync, randomBytes, timingSafeEqual } from "node:crypto";
import type { AdmissionGate } from "./admission-gate.ts";
import { openBox, sealBox } from "./aead.ts";
import { sealedKeyUnreadable, vaultSealed } from "./errors.ts";
import {
  dummyPasswordHash,
  hashPassword,
  isBelowPolicy,
  isCheckable,
  makeUpFor,
  matchesPassword,
  type PasswordPolicy,
  type Pepper,
  tryParsePasswordHash,
} from "./password-hash.ts";
import type { Peppers } from "./peppers.ts";
import type { SealedBox } from "./sealed-box.ts";

/** What a keyed digest is for. Each purpose has a key of its own, so no digest can stand in for another. */
export type DigestPurpose =
  | "client-secret"
  | "refresh-token"
  | "refresh-chain"
  | "request-body"
  | "login-name"
  | "audit-field";

/** What a CryptoManager needs. */
export interface CryptoManagerOptions {
  /** 32 bytes: what earlier versions of vault sealed with. Needed once, to seal those boxes anew. */
  readonly keyEncryptionKey: Uint8Array | undefined;
  /** PBKDF2 iterations of new password hashes. */
  readonly passwordIterations: number;
  readonly peppers: Peppers;
  /** Bounds the password checks. */
  readonly gate: AdmissionGate;
}

/** Entropy of client secrets, refresh tokens and generated passwords. */
const SECRET_BYTES = 32;
const CLIENT_SECRET_PREFIX = "nxs_";
const REFRESH_TOKEN_PREFIX = "nxr_";

/** The keys of vault's own boxes: one per version of its tenant key. */
export type BoxKeys = ReadonlyMap<number, Buffer>;

/** All cryptography of vault's own state behind one door: password hashing (PBKDF2), keyed digests (HMAC-SHA256),
 * sealing of stored keys (AES-256-GCM), new secrets. It keeps key material to itself and knows no table and no RPC.
 * While vault is sealed it has no keys, and what needs one answers precondition/VAULT_SEALED.
 *
 * Signing of access tokens is not here: the token format belongs to @nexus/identity, its keys to SigningKeyRing. */
export class CryptoManager {
  readonly #options: CryptoManagerOptions;
  readonly #dummyHash: string;
  #boxKeys: BoxKeys = new Map();
  #digestKeys: Readonly<Record<DigestPurpose, Buffer>> | undefined;

  constructor(options: CryptoManagerOptions) {
    this.#options = options;
    this.#dummyHash = dummyPasswordHash(options.passwordIterations, options.peppers.version);
  }

  /** Says whether vault is unsealed as far as its own boxes go. */
  get isOpen(): boolean {
    return this.#boxKeys.size > 0;
  }

  /** Takes the keys of vault's own boxes into use; the newest seals. Takes the buffers over. */
  useBoxKeys(keys: BoxKeys): void {
    for (const key of this.#boxKeys.values()) key.fill(0);
    this.#boxKeys = keys;
  }

  /** Forgets every key, as a seal does. */
  close(): void {
    this.useBoxKeys(new Map());
    for (const key of Object.values(this.#digestKeys ?? {})) key.fill(0);
    this.#digestKeys = undefined;
    this.#options.peppers.close();
  }

  /** The version that seals. Errors: precondition/VAULT_SEALED. */
  get boxKeyVersion(): number {
    if (!this.isOpen) throw vaultSealed();
    return Math.max(...this.#boxKeys.keys());
  }

  /** Encrypts something for storage; `name` binds the box to its place, so boxes cannot be swapped.
   * Errors: precondition/VAULT_SEALED. */
  seal(name: string, plaintext: Uint8Array): SealedBox {
    const keyVersion = this.boxKeyVersion;
    return { box: sealBox(this.#boxKey(keyVersion), plaintext, name), keyVersion };
  }

  /** Opens a box. Errors: precondition/VAULT_SEALED; data_loss/SEALED_KEY_UNREADABLE. */
  open(name: string, { box, keyVersion }: SealedBox): Buffer {
    const plaintext = openBox(this.#boxKey(keyVersion), box, name);
    if (plaintext === undefined) throw sealedKeyUnreadable();
    return plaintext;
  }

  /** Refuses a box that does not open with the key encryption key of earlier versions, before there is any other key.
   * Errors: data_loss/SEALED_KEY_UNREADABLE. */
  assertOpensEarlier(name: string, { box, keyVersion }: SealedBox): void {
    const { keyEncryptionKey: key } = this.#options;
    const plaintext =
      key === undefined || keyVersion !== undefined ? undefined : openBox(key, box, name);
    if (plaintext === undefined) throw sealedKeyUnreadable();
    plaintext.fill(0);
  }

  #boxKey(keyVersion: number | undefined): Uint8Array {
    if (!this.isOpen) throw vaultSealed();
    const key =
      keyVersion === undefined ? this.#options.keyEncryptionKey : this.#boxKeys.get(keyVersion);
    if (key === undefined) throw sealedKeyUnreadable();
    return key;
  }

  /** Makes a new digest key, sealed for storage under the given name. */
  newSealedDigestKey(name: string): SealedBox {
    const key = randomBytes(SECRET_BYTES);
    const box = this.seal(name, key);
    key.fill(0);
    return box;
  }

  /** Takes the stored digest key into use, and the peppers; needed once, before the first digest.
   * Errors: of the database; data_loss/SEALED_KEY_UNREADABLE. */
  async useSealedDigestKey(name: string, box: SealedBox): Promise<void> {
    const key = this.open(name, box);
    const derived = (purpose: DigestPurpose | "password-pepper") =>
      Buffer.from(hkdfSync("sha256", key, "", `nexus/vault/digest/${purpose}/v1`, SECRET_BYTES));
    this.#digestKeys = {
      "client-secret": derived("client-secret"),
      "refresh-token": derived("refresh-token"),
      "refresh-chain": derived("refresh-chain"),
      "request-body": derived("request-body"),
      "login-name": derived("login-name"),
      "audit-field": derived("audit-field"),
    };
    const firstPepper = derived("password-pepper");
    key.fill(0);
    await this.#options.peppers.open(firstPepper, {
      newBox: (pepper) => this.newSealedDigestKey(pepper),
      open: (pepper, stored) => this.open(pepper, stored),
    });
  }

  /** The keyed digest under which a high-entropy secret or a request body is stored.
   * Errors: precondition/VAULT_SEALED. */
  digest(purpose: DigestPurpose, data: string | Uint8Array): Buffer {
    if (this.#digestKeys === undefined) throw vaultSealed();
    return createHmac("sha256", this.#digestKeys[purpose]).update(data).digest();
  }

  /** As digest(); undefined while vault is sealed. */
  tryDigest(purpose: DigestPurpose, data: string | Uint8Array): Buffer | undefined {
    return this.#digestKeys === undefined ? undefined : this.digest(purpose, data);
  }

  /** Compares a secret with a stored digest in constant time; an absent digest never matches. */
  matchesDigest(purpose: DigestPurpose, data: string, stored: Uint8Array | undefined): boolean {
    const digest = this.digest(purpose, data);
    const expected =
      stored?.byteLength === digest.byteLength ? stored : Buffer.alloc(digest.length);
    return timingSafeEqual(digest, expected);
  }

  /** Hashes a new password when its turn comes. Errors: exhausted/LOGIN_BUSY; precondition/VAULT_SEALED. */
  async hashPassword(password: string, signal?: AbortSignal): Promise<string> {
    const policy = this.#passwordPolicy();
    return this.#options.gate.run(() => hashPassword(password, policy), signal);
  }

  /** Taken before the work and kept through it: a seal in its middle must not leave a hash without a pepper. */
  #passwordPolicy(): PasswordPolicy & { readonly pepper: Pepper } {
    const { passwordIterations: iterations, peppers } = this.#options;
    const pepper = peppers.current;
    if (pepper === undefined) throw vaultSealed();
    return { iterations, pepper };
  }

  /** Runs a password check when its turn comes: `load` finds the stored hash, and when there is none, or none that can be
   * checked, a dummy is checked instead. So a refusal costs the iterations of today's policy, whatever is stored; only a hash of
   * more, of a policy that was lowered since, costs its own and tells by its time that there is such a user.
   *
   * Shape: resolves to the new hash when the password is right and the stored one is below today's policy.
   * Errors: exhausted/LOGIN_BUSY and precondition/VAULT_SEALED before any work is done; those of load. */
  async checkPassword(
    password: string,
    load: () => Promise<string | undefined>,
    signal?: AbortSignal,
  ): Promise<{ readonly matches: boolean; readonly rehash: string | undefined }> {
    const policy = this.#passwordPolicy();
    return this.#options.gate.run(async () => {
      const stored = await load();
      const pepper = (await this.#pepperIn(stored)) ?? policy.pepper;
      const isReal = stored !== undefined && isCheckable(stored, pepper);
      const checked = isReal ? stored : this.#dummyHash;
      const matched = await matchesPassword(checked, password, isReal ? pepper : policy.pepper);
      if (!matched) await makeUpFor(checked, policy);
      const matches = matched && isReal;
      const stale = matches && isBelowPolicy(stored, policy);
      return { matches, rehash: stale ? await hashPassword(password, policy) : undefined };
    }, signal);
  }

  /** The pepper that a stored hash names; undefined when it names none, or one that is not accepted. */
  async #pepperIn(stored: string | undefined): Promise<Pepper | undefined> {
    const version = stored === undefined ? undefined : tryParsePasswordHash(stored)?.pepper;
    return version === undefined ? undefined : this.#options.peppers.find(version);
  }

  /** A new client secret: `nxs_` and 256 bits as 43 base64url characters. */
  newClientSecret(): string {
    return CLIENT_SECRET_PREFIX + randomBytes(SECRET_BYTES).toString("base64url");
  }

  /** A new refresh token: `nxr_` and 256 bits as 43 base64url characters. */
  newRefreshToken(): string {
    return REFRESH_TOKEN_PREFIX + randomBytes(SECRET_BYTES).toString("base64url");
  }

  /** Says whether a text has the look of a refresh token. */
  isRefreshToken(text: string): boolean {
    return text.startsWith(REFRESH_TOKEN_PREFIX);
  }

  /** The token that follows a refresh token when it is spent. It follows from the spent one and a key, so a client that
   * lost the answer can be given the same again, though no token is stored. Errors: precondition/VAULT_SEALED. */
  nextRefreshToken(spent: string): string {
    return REFRESH_TOKEN_PREFIX + this.digest("refresh-chain", spent).toString("base64url");
  }

  /** A password for the first administrator when the deployment gives none: 144 bits, no look-alike worries. */
  newPassword(): string {
    return randomBytes(18).toString("base64url");
  }
}
