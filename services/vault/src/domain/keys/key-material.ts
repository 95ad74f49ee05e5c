import { createPrivateKey, createPublicKey, type KeyObject, randomBytes } from "node:crypto";
import { AEAD_KEY_BYTES } from "../aead.ts";
import type { KeyType } from "./named-key.ts";

/** New key material. Zero the secret after use. */
export interface KeyMaterial {
  readonly secret: Buffer;
  readonly publicKey: Buffer | undefined;
}

/** PKCS #8 and SubjectPublicKeyInfo around raw Ed25519 keys (RFC 8410). */
const PRIVATE_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");
const PUBLIC_PREFIX = Buffer.from("302a300506032b6570032100", "hex");

/** Makes the material of one version: 32 random bytes, whatever the type; for Ed25519 they are the seed. */
export function newKeyMaterial(type: KeyType): KeyMaterial {
  const secret = randomBytes(AEAD_KEY_BYTES);
  const publicKey = type === "ed25519" ? publicKeyOf(secret) : undefined;
  return { secret, publicKey };
}

/** An Ed25519 private key from its seed. */
export function importEd25519Seed(seed: Uint8Array): KeyObject {
  const key = Buffer.concat([PRIVATE_PREFIX, seed]);
  try {
    return createPrivateKey({ key, format: "der", type: "pkcs8" });
  } finally {
    key.fill(0);
  }
}

/** An Ed25519 public key from its 32 bytes. */
export function importEd25519Public(raw: Uint8Array): KeyObject {
  const key = Buffer.concat([PUBLIC_PREFIX, raw]);
  return createPublicKey({ key, format: "der", type: "spki" });
}

function publicKeyOf(seed: Buffer): Buffer {
  const der = createPublicKey(importEd25519Seed(seed)).export({ format: "der", type: "spki" });
  return Buffer.from(der.subarray(PUBLIC_PREFIX.byteLength));
}
