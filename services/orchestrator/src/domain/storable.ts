/** Finds text that Postgres cannot hold, before it spoils a batch of others. */

/** Returns the path of the first text with a NUL character in a plain value, or undefined.
 *
 * Bytes are not looked into. */
export function findNul(value: unknown, path = ""): string | undefined {
  if (typeof value === "string") return value.includes("\u0000") ? path : undefined;
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return undefined;
  for (const [key, inner] of Object.entries(value)) {
    if (key.includes("\u0000")) return path;
    const next = Array.isArray(value) ? `${path}[${key}]` : joinPath(path, key);
    const found = findNul(inner, next);
    if (found !== undefined) return found;
  }
  return undefined;
}

function joinPath(path: string, key: string): string {
  return path === "" ? key : `${path}.${key}`;
}
