import { createHmac } from "node:crypto";
import { AEAD_KEY_BYTES } from "./aead.ts";
import { unwrapKeyFor, wrapKeyFor } from "./crypto/key-wrap.ts";
import { vaultSealed } from "./errors.ts";

/** Bytes of a root key. */
export const ROOT_KEY_BYTES = AEAD_KEY_BYTES;

/** Where a root key comes from. `operator`: given by Unseal, in memory only. */
export type RootKeySource = "environment" | "file" | "kms" | "operator";

/** A tenant's key under a root key. */
export interface WrappedByRoot {
  readonly rootKeyId: string;
  readonly box: Buffer;
}

/** The root key, or the way to it: wraps the keys of tenants and nothing else. */
export interface RootKeys {
  readonly source: RootKeySource;
  /** The key that wraps from now on. */
  currentId(): Promise<string>;
  /** Wraps under the current key. `place` says what is wrapped; it opens for the same place only. */
  wrap(place: Uint8Array, secret: Uint8Array): Promise<WrappedByRoot>;
  /** Opens with the current or the previous key; undefined when neither made the box. */
  unwrap(place: Uint8Array, wrapped: WrappedByRoot): Promise<Buffer | undefined>;
  /** Forgets the key. */
  close(): void;
}

/** Opens a way to the root key. Errors: precondition/ROOT_KEY_UNSAFE for a file that others may read. */
export type RootKeyProvider = () => Promise<RootKeys>;

/** The name of a root key, computed from it, so that a wrong key is told from a damaged row. */
export function rootKeyId(key: Uint8Array): string {
  return createHmac("sha256", key).update("nexus/kek-id/v1").digest("hex").slice(0, 16);
}

/** Reads a root key from its text, 32 bytes in base64; undefined for anything else. */
export function tryParseRootKey(text: string): Buffer | undefined {
  const trimmed = text.trim();
  return /^[A-Za-z0-9+/]{43}=$/.test(trimmed) ? Buffer.from(trimmed, "base64") : undefined;
}

/** Root keys held in memory: a current one and, during a change, the previous one. Takes the buffers over. */
export function createLocalRootKeys(
  source: RootKeySource,
  current: Buffer,
  previous?: Buffer,
): RootKeys {
  const keys = new Map<string, Buffer>();
  if (previous !== undefined) keys.set(rootKeyId(previous), previous);
  const currentKeyId = rootKeyId(current);
  keys.set(currentKeyId, current);
  return {
    source,
    currentId: async () => currentKeyId,
    async wrap(place, secret) {
      const key = keys.get(currentKeyId);
      if (key === undefined) throw vaultSealed();
      return { rootKeyId: currentKeyId, box: wrapKeyFor(place, key, secret) };
    },
    async unwrap(place, wrapped) {
      const key = keys.get(wrapped.rootKeyId);
      return key === undefined ? undefined : unwrapKeyFor(place, key, wrapped.box);
    },
    close() {
      for (const key of keys.values()) key.fill(0);
      keys.clear();
    },
  };
}
