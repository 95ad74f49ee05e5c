/** What a versioned text holds. */
export type TextKind = "nxv" | "nxg" | "nxs" | "nxm";

/** A text taken apart. */
export interface VersionedBytes {
  readonly version: number;
  readonly bytes: Buffer;
}

const FORM = /^(nx[vgsm]):v([1-9][0-9]{0,8}):([A-Za-z0-9_-]+)$/;

/** Writes `<kind>:v<version>:<base64url>`: what a caller stores. `nxv` envelope, `nxg` plain AES-256-GCM, `nxs` signature,
 * `nxm` message authentication code. */
export function formatVersioned(kind: TextKind, version: number, bytes: Buffer): string {
  return `${kind}:v${version}:${bytes.toString("base64url")}`;
}

/** Reads what formatVersioned wrote; undefined for anything else. One byte string has one text: base64 with loose bits at
 * its end is refused, or a changed text would open. */
export function tryParseVersioned(kind: TextKind, text: string): VersionedBytes | undefined {
  const [, prefix, version = "", body = ""] = FORM.exec(text) ?? [];
  if (prefix !== kind) return undefined;
  const bytes = Buffer.from(body, "base64url");
  return bytes.toString("base64url") === body ? { version: Number(version), bytes } : undefined;
}
