import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
} from "node:crypto";

/** Bytes of an X25519 key, public or private. */
export const X25519_KEY_BYTES = 32;

const TAG_BYTES = 16;
const NONCE_BYTES = 12;
const HASH_BYTES = 32;
/** Identifiers of RFC 9180 section 7. */
const KEM_ID = 0x0020;
const KDF_ID = 0x0001;
/** Mode `base`: nobody authenticates the sender, whoever can write to the database may be one. */
const MODE_BASE = 0x00;

/** An AEAD of RFC 9180 section 7.3. */
interface HpkeAead {
  readonly id: number;
  readonly cipher: "aes-128-gcm" | "aes-256-gcm";
  readonly keyBytes: number;
}

const AES_256_GCM: HpkeAead = { id: 0x0002, cipher: "aes-256-gcm", keyBytes: 32 };
/** Here only because the RFC's own test vectors use it. */
export const AES_128_GCM: HpkeAead = { id: 0x0001, cipher: "aes-128-gcm", keyBytes: 16 };

/** What a message is bound to. */
export interface HpkeBinding {
  /** What the message is for; part of the key schedule. */
  readonly info: Uint8Array;
  readonly associatedData: Uint8Array;
}

interface Keys {
  readonly key: Buffer;
  readonly nonce: Buffer;
}

/** A new X25519 key pair as raw bytes, for whoever makes a recovery key. */
export function generateX25519(): { readonly publicKey: Buffer; readonly privateKey: Buffer } {
  const { publicKey, privateKey } = generateKeyPairSync("x25519");
  return { publicKey: rawPublic(publicKey), privateKey: rawPrivate(privateKey) };
}

/** The public half of a private key. */
export function x25519PublicKey(privateKey: Uint8Array): Buffer {
  return rawPublic(createPublicKey(importPrivate(privateKey)));
}

/** Seals one message to the holder of a private key: HPKE base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
 * AES-256-GCM (RFC 9180); the box is the encapsulated key, ciphertext, tag. Any implementation of the RFC opens it. */
export function sealHpke(
  publicKey: Uint8Array,
  plaintext: Uint8Array,
  { info, associatedData }: HpkeBinding,
): Buffer {
  const ephemeral = generateKeyPairSync("x25519");
  const enc = rawPublic(ephemeral.publicKey);
  const shared = diffieHellman({
    privateKey: ephemeral.privateKey,
    publicKey: importPublic(publicKey),
  });
  const { key, nonce } = schedule(AES_256_GCM, { shared, enc, publicKey, info });
  const cipher = createCipheriv(AES_256_GCM.cipher, key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(associatedData);
  const box = [enc, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()];
  shared.fill(0);
  key.fill(0);
  return Buffer.concat(box);
}

/** Opens a box of sealHpke; undefined with another key, for another binding, or after any change. */
export function openHpke(
  privateKey: Uint8Array,
  box: Uint8Array,
  { info, associatedData, aead = AES_256_GCM }: HpkeBinding & { readonly aead?: HpkeAead },
): Buffer | undefined {
  if (box.byteLength < X25519_KEY_BYTES + TAG_BYTES) return undefined;
  const enc = box.subarray(0, X25519_KEY_BYTES);
  const tagAt = box.byteLength - TAG_BYTES;
  const own = importPrivate(privateKey);
  let shared: Buffer | undefined;
  let key: Buffer | undefined;
  try {
    shared = diffieHellman({ privateKey: own, publicKey: importPublic(enc) });
    const publicKey = rawPublic(createPublicKey(own));
    const keys = schedule(aead, { shared, enc, publicKey, info });
    key = keys.key;
    const decipher = createDecipheriv(aead.cipher, key, keys.nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(associatedData).setAuthTag(box.subarray(tagAt));
    return Buffer.concat([
      decipher.update(box.subarray(X25519_KEY_BYTES, tagAt)),
      decipher.final(),
    ]);
  } catch {
    // A wrong tag, or an encapsulated key of small order: the box is not ours either way.
    return undefined;
  } finally {
    shared?.fill(0);
    key?.fill(0);
  }
}

/** Key and nonce of the first message: RFC 9180 sections 4.1 and 5.1. */
function schedule(
  aead: HpkeAead,
  input: {
    readonly shared: Uint8Array;
    readonly enc: Uint8Array;
    readonly publicKey: Uint8Array;
    readonly info: Uint8Array;
  },
): Keys {
  const kem = suite("KEM", KEM_ID);
  const hpke = suite("HPKE", KEM_ID, KDF_ID, aead.id);
  const kemContext = Buffer.concat([input.enc, input.publicKey]);
  const eaePrk = extract(kem, { salt: EMPTY, label: "eae_prk", ikm: input.shared });
  const secret = expand(kem, eaePrk, {
    label: "shared_secret",
    info: kemContext,
    bytes: HASH_BYTES,
  });
  const context = Buffer.concat([
    Buffer.of(MODE_BASE),
    extract(hpke, { salt: EMPTY, label: "psk_id_hash", ikm: EMPTY }),
    extract(hpke, { salt: EMPTY, label: "info_hash", ikm: input.info }),
  ]);
  const prk = extract(hpke, { salt: secret, label: "secret", ikm: EMPTY });
  return {
    key: expand(hpke, prk, { label: "key", info: context, bytes: aead.keyBytes }),
    nonce: expand(hpke, prk, { label: "base_nonce", info: context, bytes: NONCE_BYTES }),
  };
}

const EMPTY = Buffer.alloc(0);

function suite(name: string, ...ids: readonly number[]): Buffer {
  return Buffer.concat([Buffer.from(name), ...ids.map(twoBytes)]);
}

function twoBytes(value: number): Buffer {
  return Buffer.of(value >> 8, value & 0xff);
}

/** LabeledExtract of RFC 9180 section 4. */
function extract(
  suiteId: Buffer,
  { salt, label, ikm }: { salt: Uint8Array; label: string; ikm: Uint8Array },
): Buffer {
  const hmac = createHmac("sha256", salt).update("HPKE-v1").update(suiteId);
  return hmac.update(label).update(ikm).digest();
}

/** LabeledExpand of RFC 9180 section 4; one block is enough for everything here. */
function expand(
  suiteId: Buffer,
  prk: Buffer,
  { label, info, bytes }: { label: string; info: Uint8Array; bytes: number },
): Buffer {
  const hmac = createHmac("sha256", prk).update(twoBytes(bytes)).update("HPKE-v1");
  hmac.update(suiteId).update(label).update(info).update(Buffer.of(1));
  return hmac.digest().subarray(0, bytes);
}

function importPublic(raw: Uint8Array): KeyObject {
  const x = Buffer.from(raw).toString("base64url");
  return createPublicKey({ key: { kty: "OKP", crv: "X25519", x }, format: "jwk" });
}

/** PKCS #8 around the raw key (RFC 8410): a JWK would need the public half as well. */
function importPrivate(raw: Uint8Array): KeyObject {
  const der = Buffer.concat([Buffer.from("302e020100300506032b656e04220420", "hex"), raw]);
  try {
    return createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  } finally {
    der.fill(0);
  }
}

function rawPublic(key: KeyObject): Buffer {
  return Buffer.from(key.export({ format: "jwk" }).x ?? "", "base64url");
}

function rawPrivate(key: KeyObject): Buffer {
  return Buffer.from(key.export({ format: "jwk" }).d ?? "", "base64url");
}
