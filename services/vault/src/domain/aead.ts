import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";

/** Bytes of an AES-256 key. */
export const AEAD_KEY_BYTES = 32;
const IV_BYTES = 12;
const TAG_BYTES = 16;
const ALGORITHM = "aes-256-gcm";

/** Encrypts and authenticates: AES-256-GCM with a random IV; the box is ciphertext, IV, tag.
 *
 * Random IVs are safe for fewer than 2^32 boxes under one key (NIST SP 800-38D section 8.3): vault's own keys seal a handful,
 * and the uses of a tenant's plain key are counted. */
export function sealBox(
  key: Uint8Array,
  plaintext: Uint8Array,
  associatedData: Uint8Array | string,
): Buffer {
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv(ALGORITHM, key, iv, { authTagLength: TAG_BYTES });
  cipher.setAAD(toBytes(associatedData));
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()]);
  return Buffer.concat([ciphertext, iv, cipher.getAuthTag()]);
}

/** Opens a box of sealBox; undefined when it was made with another key, for other associated data, or changed.
 *
 * `authTagLength` is what makes Node refuse truncated tags (nodejs/node#52327). */
export function openBox(
  key: Uint8Array,
  box: Uint8Array,
  associatedData: Uint8Array | string,
): Buffer | undefined {
  if (box.byteLength < IV_BYTES + TAG_BYTES) return undefined;
  const ivAt = box.byteLength - IV_BYTES - TAG_BYTES;
  const iv = box.subarray(ivAt, ivAt + IV_BYTES);
  const decipher = createDecipheriv(ALGORITHM, key, iv, { authTagLength: TAG_BYTES });
  decipher.setAAD(toBytes(associatedData));
  decipher.setAuthTag(box.subarray(ivAt + IV_BYTES));
  try {
    return Buffer.concat([decipher.update(box.subarray(0, ivAt)), decipher.final()]);
  } catch {
    // final() throws only when the tag does not match; why is nobody's business.
    return undefined;
  }
}

function toBytes(associatedData: Uint8Array | string): Uint8Array {
  return typeof associatedData === "string" ? Buffer.from(associatedData, "utf8") : associatedData;
}
