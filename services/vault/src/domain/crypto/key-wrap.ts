import { createCipheriv, createDecipheriv } from "node:crypto";
import { AEAD_KEY_BYTES } from "../aead.ts";
import { hkdfSha512 } from "./hkdf.ts";

/** RFC 5649 section 3: the constant in front of the length. */
const ALTERNATIVE_IV = Buffer.from("a65959a6", "hex");
const ALGORITHM = "id-aes256-wrap-pad";
/** One block of the alternative IV and length, and at least one of key. */
const WRAPPED_BYTES_MIN = 16;
const BLOCK_BYTES = 8;

/** Wraps a key with AES-256-KWP (RFC 5649, NIST SP 800-38F): deterministic, made for keys and nothing else. */
export function wrapKey(wrappingKey: Uint8Array, key: Uint8Array): Buffer {
  if (wrappingKey.byteLength !== AEAD_KEY_BYTES) throw new RangeError("The wrapping key is short.");
  const cipher = createCipheriv(ALGORITHM, wrappingKey, ALTERNATIVE_IV);
  return Buffer.concat([cipher.update(key), cipher.final()]);
}

/** Opens what wrapKey made; undefined under another key or after any change. */
export function unwrapKey(wrappingKey: Uint8Array, wrapped: Uint8Array): Buffer | undefined {
  const whole = wrapped.byteLength >= WRAPPED_BYTES_MIN && wrapped.byteLength % BLOCK_BYTES === 0;
  if (!whole || wrappingKey.byteLength !== AEAD_KEY_BYTES) return undefined;
  const decipher = createDecipheriv(ALGORITHM, wrappingKey, ALTERNATIVE_IV);
  try {
    return Buffer.concat([decipher.update(wrapped), decipher.final()]);
  } catch {
    // The integrity check of the wrapping; why it fails is nobody's business.
    return undefined;
  }
}

/** Wraps a key for one place. KWP takes no associated data, so the wrapping key itself is derived for the place: a
 * wrapped key that is moved to another row, tenant or version does not open there. */
export function wrapKeyFor(place: Uint8Array, key: Uint8Array, secret: Uint8Array): Buffer {
  const wrappingKey = placeKey(place, key);
  try {
    return wrapKey(wrappingKey, secret);
  } finally {
    wrappingKey.fill(0);
  }
}

/** Opens what wrapKeyFor made for the same place. */
export function unwrapKeyFor(
  place: Uint8Array,
  key: Uint8Array,
  wrapped: Uint8Array,
): Buffer | undefined {
  const wrappingKey = placeKey(place, key);
  try {
    return unwrapKey(wrappingKey, wrapped);
  } finally {
    wrappingKey.fill(0);
  }
}

function placeKey(place: Uint8Array, key: Uint8Array): Buffer {
  return hkdfSha512(key, { salt: Buffer.alloc(0), info: place, lengthBytes: AEAD_KEY_BYTES });
}
