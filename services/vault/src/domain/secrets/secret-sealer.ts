import { randomBytes } from "node:crypto";
import { AEAD_KEY_BYTES } from "../aead.ts";
import { canonical } from "../crypto/canonical.ts";
import { openEnvelope, sealEnvelope } from "../crypto/envelope.ts";
import { sealedKeyUnreadable } from "../errors.ts";
import type { TenantKeyring, WrappedByTenant } from "../keys/tenant-keyring.ts";
import type { SealedValue, SecretName, StaleSecretVersion } from "./secret.ts";

/** The key of one version, before it is stored. Close it in the end. */
export interface VersionKey {
  readonly key: Buffer;
  readonly wrapped: WrappedByTenant;
  close(): void;
}

/** Which version of which secret a value belongs to. */
export interface ValuePlace extends SecretName {
  readonly secretId: string;
  readonly version: number;
}

/** Seals values: each under a random key of its own, which the tenant's key wraps. A rotation of the tenant's key wraps
 * the small keys anew and touches no value; destroying a version removes both. */
export class SecretSealer {
  readonly #keyring: TenantKeyring;

  constructor(keyring: TenantKeyring) {
    this.#keyring = keyring;
  }

  /** Makes and wraps the key of a version. Apart from seal(), because wrapping may ask the database or a KMS, and a
   * transaction must not wait for these. Errors: precondition/VAULT_SEALED. */
  async newKey(name: SecretName): Promise<VersionKey> {
    const key = randomBytes(AEAD_KEY_BYTES);
    try {
      const wrapped = await this.#keyring.wrap(name.namespace, secretKeyPlace(name), key);
      return { key, wrapped, close: () => void key.fill(0) };
    } catch (error) {
      key.fill(0);
      throw error;
    }
  }

  /** Seals a value for its place; it opens nowhere else. */
  seal({ key, wrapped }: VersionKey, place: ValuePlace, value: Uint8Array): SealedValue {
    return { wrapped, value: sealEnvelope(key, value, valueContext(place)) };
  }

  /** Errors: precondition/VAULT_SEALED; data_loss/SEALED_KEY_UNREADABLE when the row is another one's, or changed. */
  async open(place: ValuePlace, { wrapped, value }: SealedValue): Promise<Buffer> {
    const key = await this.#keyring.unwrap(place.namespace, secretKeyPlace(place), wrapped);
    try {
      const opened = openEnvelope(key, value, valueContext(place));
      if (opened === undefined) throw sealedKeyUnreadable();
      return opened;
    } finally {
      key.fill(0);
    }
  }

  /** The key of a version under the tenant's newest key. */
  async rewrap(version: StaleSecretVersion): Promise<WrappedByTenant> {
    const place = secretKeyPlace(version);
    const key = await this.#keyring.unwrap(version.namespace, place, version.wrapped);
    try {
      return await this.#keyring.wrap(version.namespace, place, key);
    } finally {
      key.fill(0);
    }
  }
}

/** What the key of a version is wrapped for: it opens for its own path only. */
export function secretKeyPlace({ namespace, path }: SecretName): Buffer {
  return canonical("nexus/secret-key/v1", namespace, path);
}

/** What a value is bound to. The secret's id besides the path: a path may be used anew after its secret was destroyed. */
function valueContext({ namespace, path, secretId, version }: ValuePlace): Buffer {
  return canonical("nexus/secret-value/v1", namespace, path, secretId, version);
}
