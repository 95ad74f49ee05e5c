/** The fingerprint of a request's body, by which a repeated call is told from a reused request id. */
import { createHash, type Hash, hash as hashOnce } from "node:crypto";

/** SHA-256 of bytes. */
export function hashBytes(bytes: Uint8Array): Uint8Array {
  return hashOnce("sha256", bytes, "buffer");
}

/** SHA-256 of a plain value. Equal values give equal hashes whatever the order of their keys, as maps have none. */
export function hashBody(value: unknown): Uint8Array {
  const hash = createHash("sha256");
  feed(hash, value);
  return hash.digest();
}

/** Feeds type, length and content, so that no two different values read alike. */
function feed(hash: Hash, value: unknown): void {
  if (typeof value === "string") hash.update(`s${value.length};${value}`);
  else if (value === undefined || value === null) hash.update("n;");
  else if (typeof value !== "object") hash.update(`${typeof value} ${JSON.stringify(value)};`);
  else if (value instanceof Uint8Array) hash.update(`b${value.byteLength};`).update(value);
  else if (Array.isArray(value)) {
    hash.update(`a${value.length};`);
    for (const item of value) feed(hash, item);
  } else {
    const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    hash.update(`o${entries.length};`);
    for (const [key, item] of entries) {
      hash.update(`${key.length};${key}`);
      feed(hash, item);
    }
  }
}
