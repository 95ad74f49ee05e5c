import type { Namespace } from "@nexus/shared";
import type { WrappedByTenant } from "../keys/tenant-keyring.ts";
import type { Page, PageOf } from "../page.ts";
import {
  secretDeleted,
  secretDestroyed,
  secretExpired,
  secretVersionNotFound,
} from "./secret-errors.ts";

/** Names one secret. */
export interface SecretName {
  readonly namespace: Namespace;
  readonly path: string;
}

/** What its owner decides about a secret. */
export interface SecretSettings {
  readonly maxVersions: number;
  readonly casRequired: boolean;
  /** Agents read it in the name of a task that they hold, or not at all. */
  readonly taskRequired: boolean;
  /** 0: for ever. */
  readonly versionTtlMs: number;
  readonly labels: Readonly<Record<string, string>>;
}

/** A secret as stored, without values. */
export interface Secret extends SecretName, SecretSettings {
  readonly secretId: string;
  readonly latestVersion: number;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

/** Whether a version can be read. */
export type SecretVersionState = "active" | "deleted" | "expired" | "destroyed";

/** A version as anybody may see it who may see the secret. */
export interface SecretVersion {
  readonly version: number;
  /** By the database's clock, as of the reading. */
  readonly state: SecretVersionState;
  readonly sizeBytes: number;
  readonly createdBy: string;
  readonly createdAtMs: number;
  readonly expiresAtMs: number | undefined;
  readonly deletedAtMs: number | undefined;
  readonly destroyedAtMs: number | undefined;
}

/** A value under a key of its own, which is under the tenant's. */
export interface SealedValue {
  readonly wrapped: WrappedByTenant;
  readonly value: Buffer;
}

/** A version with its value. */
export interface StoredSecretVersion extends SecretVersion {
  /** Undefined when it is removed. */
  readonly sealed: SealedValue | undefined;
}

/** A version about to be stored. */
export interface NewSecretVersion {
  readonly sealed: SealedValue;
  readonly sizeBytes: number;
  readonly createdBy: string;
  /** 0: for ever. */
  readonly ttlMs: number;
}

/** A version whose key waits for a new wrapping. */
export interface StaleSecretVersion extends SecretName {
  readonly secretId: string;
  readonly version: number;
  readonly wrapped: WrappedByTenant;
}

/** Reads secrets, and writes what is no decision: wrappings. */
export interface SecretReader {
  find(name: SecretName): Promise<Secret | undefined>;
  /** The secret with one version, 0 for the newest; the version is undefined when it is not kept. */
  findVersion(
    name: SecretName,
    version: number,
  ): Promise<
    { readonly secret: Secret; readonly version: StoredSecretVersion | undefined } | undefined
  >;
  /** By path, of those that may be shown. Errors: invalid/PAGE_TOKEN_INVALID. */
  list(range: PathRange, page: PageOf, mayShow: (secret: Secret) => boolean): Promise<Page<Secret>>;
  /** Newest first. Errors: invalid/PAGE_TOKEN_INVALID. */
  listVersions(secret: Secret, page: PageOf): Promise<Page<SecretVersion>>;
  /** Versions that are not under their namespace's newest key, behind the given one. */
  listStale(
    after: StaleSecretVersion | undefined,
    limit: number,
  ): Promise<readonly StaleSecretVersion[]>;
  replaceWrapping(version: StaleSecretVersion, wrapped: WrappedByTenant): Promise<void>;
}

/** The paths of a namespace that begin so. */
export interface PathRange {
  readonly namespace: Namespace;
  readonly prefix: string;
}

/** Changes secrets, inside a transaction. */
export interface SecretWriter {
  /** Locks the row until the transaction ends. */
  lock(name: SecretName): Promise<Secret | undefined>;
  countOf(namespace: Namespace): Promise<number>;
  /** Makes an empty secret and locks it; undefined when another call made one first. */
  insertIfAbsent(name: SecretName, secretId: string): Promise<Secret | undefined>;
  /** Adds the version after the latest one and removes those beyond the secret's maximum. Errors: conflict/KEY_CHANGED
   * when the tenant key that wraps it has gone meanwhile. */
  addVersion(
    secret: Secret,
    version: NewSecretVersion,
  ): Promise<{ readonly secret: Secret; readonly version: SecretVersion }>;
  /** Removes versions beyond a smaller maximum as well. */
  update(secret: Secret, patch: Partial<SecretSettings>): Promise<Secret>;
  /** The named ones of the secret that are kept, locked, newest first. */
  lockVersions(secret: Secret, versions: readonly number[]): Promise<readonly SecretVersion[]>;
  /** Each ends the leases on the versions too, but undelete. They return the versions as they are then, newest first. */
  deleteVersions(secret: Secret, versions: readonly number[]): Promise<readonly SecretVersion[]>;
  undeleteVersions(secret: Secret, versions: readonly number[]): Promise<readonly SecretVersion[]>;
  destroyVersions(secret: Secret, versions: readonly number[]): Promise<readonly SecretVersion[]>;
  /** Removes everything. */
  destroy(secret: Secret): Promise<void>;
}

/** Refuses a version that cannot be read.
 * Errors: not_found/SECRET_VERSION_NOT_FOUND; precondition/SECRET_DELETED, SECRET_EXPIRED, SECRET_DESTROYED. */
export function assertReadable(
  version: StoredSecretVersion | undefined,
): asserts version is StoredSecretVersion & { readonly sealed: SealedValue } {
  if (version === undefined) throw secretVersionNotFound();
  assertState(version, ["active"]);
  // Removed with its expiry, of which the state tells; there is no other way to here.
  if (version.sealed === undefined) throw secretDestroyed(version.version);
}

/** Refuses a version in another state than these. Errors: as those of assertReadable. */
export function assertState(
  { state, version }: SecretVersion,
  allowed: readonly SecretVersionState[],
): void {
  if (allowed.includes(state)) return;
  if (state === "deleted") throw secretDeleted(version);
  if (state === "expired") throw secretExpired(version);
  throw secretDestroyed(version);
}
