/** The fingerprint of a request's body, by which a repeated call is told from a reused request id. */
import { createHash, type Hash } from "node:crypto";

/** SHA-256 of a plain value. Equal values give equal hashes whatever the order of their keys, as maps have none. */
export function hashBody(value: unknown): Uint8Array {
  const hash = createHash("sha256");
  const chunks: string[] = [];
  feed(hash, chunks, value);
  return hash.update(chunks.join("")).digest();
}

/** Writes type, length and content, so that no two different values read alike. Text is collected, as each update of
 * a hash costs as much as a few hundred characters. */
function feed(hash: Hash, chunks: string[], value: unknown): void {
  if (value === undefined || value === null) chunks.push("n;");
  else if (value instanceof Uint8Array) {
    chunks.push(`b${value.byteLength};`);
    hash.update(chunks.splice(0).join("")).update(value);
  } else if (Array.isArray(value)) {
    chunks.push(`a${value.length};`);
    for (const item of value) feed(hash, chunks, item);
  } else if (typeof value === "object") {
    const keys = Object.keys(value).sort();
    chunks.push(`o${keys.length};`);
    for (const key of keys) {
      feed(hash, chunks, key);
      feed(hash, chunks, (value as Record<string, unknown>)[key]);
    }
  } else {
    const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "");
    chunks.push(`${typeof value}${text.length};`, text);
  }
}
