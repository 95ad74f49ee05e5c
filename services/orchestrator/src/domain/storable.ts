/** Finds text that Postgres cannot hold, before it spoils a batch of others. */

/** Returns the path of the first text with a NUL character in a plain value, or undefined.
 *
 * Bytes are not looked into. */
export function findNul(value: unknown): string | undefined {
  // Paths are only made for the one value in a million that has any use for them.
  return hasNul(value) ? pathToNul(value, "") : undefined;
}

function hasNul(value: unknown): boolean {
  if (typeof value === "string") return value.includes("\u0000");
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return false;
  if (Array.isArray(value)) return value.some(hasNul);
  for (const key in value) {
    if (key.includes("\u0000") || hasNul((value as Record<string, unknown>)[key])) return true;
  }
  return false;
}

function pathToNul(value: unknown, path: string): string | undefined {
  if (typeof value === "string") return value.includes("\u0000") ? path : undefined;
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return undefined;
  for (const [key, inner] of Object.entries(value)) {
    if (key.includes("\u0000")) return path;
    const next = Array.isArray(value) ? `${path}[${key}]` : joinPath(path, key);
    const found = pathToNul(inner, next);
    if (found !== undefined) return found;
  }
  return undefined;
}

function joinPath(path: string, key: string): string {
  return path === "" ? key : `${path}.${key}`;
}
