import {
  createHash,
  createHmac,
  createPublicKey,
  randomBytes,
  sign,
  timingSafeEqual,
  verify,
} from "node:crypto";
import { NexusError } from "@nexus/shared";
import { openBox, sealBox } from "./aead.ts";
import { EnvelopeOpener, EnvelopeSealer, openEnvelope, sealEnvelope } from "./crypto/envelope.ts";
import { formatVersioned, type TextKind, tryParseVersioned } from "./crypto/versioned-text.ts";
import { decryptionFailed, keyVersionNotFound } from "./keys/key-errors.ts";
import type { KeyHold } from "./keys/key-holds.ts";
import { importEd25519Seed } from "./keys/key-material.ts";
import type { KeyStore } from "./keys/key-store.ts";
import type { KeyName, KeyType, NamedKey } from "./keys/named-key.ts";
import { assertDecrypts, assertNotExpired, assertUsable } from "./keys/named-key.ts";
import { type ResourceContext, transitContext } from "./transit-context.ts";

/** One plaintext of a batch. */
export interface Plaintext {
  readonly plaintext: Uint8Array;
  readonly context: ResourceContext;
}

/** One ciphertext of a batch. */
export interface Ciphertext {
  readonly ciphertext: string;
  readonly context: ResourceContext;
}

/** One message with its signature or code. */
export interface Proof {
  readonly data: Uint8Array;
  readonly proof: string;
}

/** How a batch ended for one item. */
export type ItemResult<T> = { readonly value: T } | { readonly error: NexusError };

/** What a single call answers: the result and the version that made it. */
export interface Versioned<T> {
  readonly value: T;
  readonly keyVersion: number;
}

/** One stream's cipher. Its key is forgotten when the hold ends; release that after the stream. */
export interface StreamCipher<C> {
  readonly cipher: C;
  readonly keyVersion: number;
  readonly hold: KeyHold;
}

/** The key as it is known when an item claims that version. */
type KeyFor = (version: number) => Promise<NamedKey>;

const CIPHERS: readonly KeyType[] = ["envelope", "plain-gcm"];
const TEXT_KINDS: Readonly<Record<KeyType, TextKind>> = {
  envelope: "nxv",
  "plain-gcm": "nxg",
  ed25519: "nxs",
  "hmac-sha256": "nxm",
};

/** Encryption, signatures and codes with named keys. Knows formats and contexts; keys are KeyStore's.
 *
 * Every use of key material is one synchronous step inside KeyStore.use(), so no key is held across an await. A batch
 * looks its key up once and counts its uses at once. */
export class TransitEngine {
  readonly #keys: KeyStore;

  constructor(keys: KeyStore) {
    this.#keys = keys;
  }

  /** Encrypts under the latest version, all or nothing. */
  async encrypt(name: KeyName, items: readonly Plaintext[]): Promise<Versioned<string[]>> {
    const key = await this.#maker(name, CIPHERS, items.length);
    const version = key.latestVersion;
    const value = await this.#keys.use(key, version, (secret) =>
      items.map((item) => seal(key, version, secret, item)),
    );
    return { value, keyVersion: version };
  }

  /** Decrypts each item by itself. */
  async decrypt(
    name: KeyName,
    items: readonly Ciphertext[],
  ): Promise<ItemResult<Versioned<Buffer>>[]> {
    const key = await this.#keys.get(name);
    assertUsable(key, CIPHERS);
    const keyFor = this.#knowing(key);
    return perItem(items, async (item) => {
      const opened = await this.#open(keyFor, item);
      await this.#keys.noteDecrypted(key, opened.keyVersion);
      return opened;
    });
  }

  /** Brings each item under the latest version; its plaintext goes nowhere. */
  async rewrap(
    name: KeyName,
    items: readonly Ciphertext[],
  ): Promise<ItemResult<Versioned<string>>[]> {
    const key = await this.#keys.get(name);
    assertUsable(key, CIPHERS);
    assertNotExpired(key, this.#keys.nowMs);
    const keyFor = this.#knowing(key);
    return perItem(items, async (item) => {
      const { value: plaintext } = await this.#open(keyFor, item);
      try {
        const { value, keyVersion } = await this.encrypt(name, [{ ...item, plaintext }]);
        return { value: value[0] ?? "", keyVersion };
      } finally {
        plaintext.fill(0);
      }
    });
  }

  /** Makes a key for the caller and wraps it. */
  async generateDataKey(
    name: KeyName,
    { sizeBytes, context }: { readonly sizeBytes: number; readonly context: ResourceContext },
  ): Promise<Versioned<{ readonly plaintext: Buffer; readonly wrapped: string }>> {
    const plaintext = randomBytes(sizeBytes);
    const { value, keyVersion } = await this.encrypt(name, [{ plaintext, context }]);
    return { value: { plaintext, wrapped: value[0] ?? "" }, keyVersion };
  }

  /** Begins to encrypt a stream. Envelope keys only: a plain message has no pieces. */
  async sealer(name: KeyName, context: ResourceContext): Promise<StreamCipher<EnvelopeSealer>> {
    const key = await this.#maker(name, ["envelope"], 1);
    const version = key.latestVersion;
    return this.#hold(
      key,
      version,
      (secret) => new EnvelopeSealer(secret, transitContext(key, version, context)),
    );
  }

  /** Begins to decrypt a stream. */
  async opener(
    name: KeyName,
    version: number,
    context: ResourceContext,
  ): Promise<StreamCipher<EnvelopeOpener>> {
    const key = await this.#keys.get(name);
    assertUsable(key, ["envelope"]);
    assertDecrypts(key, version);
    await this.#keys.noteDecrypted(key, version);
    return this.#hold(
      key,
      version,
      (secret) => new EnvelopeOpener(secret, transitContext(key, version, context)),
    );
  }

  /** Signs with the latest version. */
  async sign(name: KeyName, messages: readonly Uint8Array[]): Promise<Versioned<string[]>> {
    const key = await this.#maker(name, ["ed25519"], messages.length);
    const version = key.latestVersion;
    const value = await this.#keys.use(key, version, (seed) => {
      const privateKey = importEd25519Seed(seed);
      return messages.map((message) =>
        formatVersioned("nxs", version, sign(null, message, privateKey)),
      );
    });
    return { value, keyVersion: version };
  }

  /** Computes codes with the latest version. */
  async computeHmac(name: KeyName, messages: readonly Uint8Array[]): Promise<Versioned<string[]>> {
    const key = await this.#maker(name, ["hmac-sha256"], messages.length);
    const version = key.latestVersion;
    const value = await this.#keys.use(key, version, (secret) =>
      messages.map((message) => formatVersioned("nxm", version, hmac(secret, message))),
    );
    return { value, keyVersion: version };
  }

  /** Checks signatures, each by itself; a text that is none is a wrong one. */
  verify(name: KeyName, items: readonly Proof[]): Promise<ItemResult<boolean>[]> {
    return this.#check(name, { type: "ed25519", items }, (seed, { data }, proof) => {
      const publicKey = createPublicKey(importEd25519Seed(seed));
      return verify(null, data, publicKey, proof);
    });
  }

  /** Checks codes in constant time. */
  verifyHmac(name: KeyName, items: readonly Proof[]): Promise<ItemResult<boolean>[]> {
    return this.#check(name, { type: "hmac-sha256", items }, (secret, { data }, proof) => {
      const expected = hmac(secret, data);
      return proof.byteLength === expected.byteLength && timingSafeEqual(proof, expected);
    });
  }

  /** A cipher for longer than one step. What ends the key from here on ends the hold; what ended it before, the second
   * look finds. */
  async #hold<C extends { close(): void }>(
    key: NamedKey,
    version: number,
    create: (secret: Buffer) => C,
  ): Promise<StreamCipher<C>> {
    const hold = this.#keys.hold(key);
    try {
      assertUsable(await this.#keys.get(key), ["envelope"]);
      const cipher = await this.#keys.use(key, version, (secret) => {
        hold.signal.throwIfAborted();
        return create(secret);
      });
      hold.signal.addEventListener("abort", () => cipher.close(), { once: true });
      if (hold.signal.aborted) cipher.close();
      return { cipher, keyVersion: version, hold };
    } catch (error) {
      hold.release();
      throw error;
    }
  }

  /** A key that is to make something: usable, not expired, its uses counted. */
  async #maker(name: KeyName, types: readonly KeyType[], uses: number): Promise<NamedKey> {
    const key = await this.#keys.get(name);
    assertUsable(key, types);
    assertNotExpired(key, this.#keys.nowMs);
    await this.#keys.countUses(key, uses);
    return key;
  }

  async #open(keyFor: KeyFor, item: Ciphertext): Promise<Versioned<Buffer>> {
    const { type } = await keyFor(0);
    const parsed = tryParseVersioned(TEXT_KINDS[type], item.ciphertext);
    if (parsed === undefined) throw decryptionFailed();
    const { version, bytes } = parsed;
    const known = await keyFor(version);
    assertDecrypts(known, version);
    const context = transitContext(known, version, item.context);
    const plaintext = await this.#keys.use(known, version, (secret) =>
      known.type === "envelope"
        ? openEnvelope(secret, bytes, context)
        : openBox(secret, bytes, context),
    );
    if (plaintext === undefined) throw decryptionFailed();
    return { value: plaintext, keyVersion: version };
  }

  /** A version that this replica has not heard of may be another one's of a moment ago. It asks once a batch: what the
   * items hold was made before, and anybody can claim any version. */
  #knowing(key: NamedKey): KeyFor {
    let known = key;
    let asked = false;
    return async (version) => {
      if (version > known.latestVersion && !asked) {
        asked = true;
        await this.#keys.refresh();
        known = await this.#keys.get(key);
        assertUsable(known, [key.type]);
      }
      return known;
    };
  }

  async #check(
    name: KeyName,
    { type, items }: { readonly type: KeyType; readonly items: readonly Proof[] },
    check: (secret: Buffer, item: Proof, proof: Buffer) => boolean,
  ): Promise<ItemResult<boolean>[]> {
    const key = await this.#keys.get(name);
    assertUsable(key, [type]);
    const keyFor = this.#knowing(key);
    return perItem(items, async (item) => {
      const parsed = tryParseVersioned(TEXT_KINDS[type], item.proof);
      if (parsed === undefined) return false;
      const known = await keyFor(parsed.version);
      if (parsed.version > known.latestVersion) throw keyVersionNotFound();
      assertDecrypts(known, parsed.version);
      return this.#keys.use(known, parsed.version, (secret) => check(secret, item, parsed.bytes));
    });
  }
}

/** The hash functions that HashData offers. */
export type HashAlgorithm = "sha256" | "sha384" | "sha512";

/** Hashes data without a key. */
export function hashData(algorithm: HashAlgorithm, data: Uint8Array): Buffer {
  return createHash(algorithm).update(data).digest();
}

function seal(key: NamedKey, version: number, secret: Buffer, item: Plaintext): string {
  const context = transitContext(key, version, item.context);
  const sealed =
    key.type === "envelope"
      ? sealEnvelope(secret, item.plaintext, context)
      : sealBox(secret, item.plaintext, context);
  return formatVersioned(TEXT_KINDS[key.type], version, sealed);
}

function hmac(secret: Buffer, message: Uint8Array): Buffer {
  return createHmac("sha256", secret).update(message).digest();
}

/** Runs items one after the other; a refusal is the item's own, anything else ends the batch. */
async function perItem<I, O>(
  items: readonly I[],
  work: (item: I) => Promise<O>,
): Promise<ItemResult<O>[]> {
  const results: ItemResult<O>[] = [];
  for (const item of items) {
    try {
      results.push({ value: await work(item) });
    } catch (error) {
      if (!(error instanceof NexusError) || concernsAll(error)) throw error;
      results.push({ error });
    }
  }
  return results;
}

/** A sealed vault or an absent database is no matter of one item. */
function concernsAll({ kind, reason }: NexusError): boolean {
  return kind === "unavailable" || kind === "internal" || reason === "VAULT_SEALED";
}
