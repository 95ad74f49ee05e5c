/** The fingerprint of a request's body, by which a repeated call is told from a reused request id. */
import { createHash, type Hash } from "node:crypto";

/** SHA-256 of a plain value. Equal values give equal hashes whatever the order of their keys, as maps have none. */
export function hashBody(value: unknown): Uint8Array {
  const hash = createHash("sha256");
  feed(hash, value);
  return hash.digest();
}

/** Writes type, length and content, so that no two different values read alike. */
function feed(hash: Hash, value: unknown): void {
  if (value === undefined || value === null) hash.update("n;");
  else if (value instanceof Uint8Array) hash.update(`b${value.byteLength};`).update(value);
  else if (Array.isArray(value)) {
    hash.update(`a${value.length};`);
    for (const item of value) feed(hash, item);
  } else if (typeof value === "object") {
    const keys = Object.keys(value).sort();
    hash.update(`o${keys.length};`);
    for (const key of keys) {
      feed(hash, key);
      feed(hash, (value as Record<string, unknown>)[key]);
    }
  } else {
    const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "");
    hash.update(`${typeof value}${Buffer.byteLength(text)};`).update(text);
  }
}
