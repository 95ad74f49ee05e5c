import type { Namespace } from "@nexus/shared";
import { canonical } from "../crypto/canonical.ts";
import type { Page, PageOf } from "../page.ts";
import {
  keyDestroyed,
  keyDisabled,
  keyExpired,
  keyTypeWrong,
  keyVersionNotFound,
  keyVersionTooOld,
} from "./key-errors.ts";
import type { WrappedByTenant } from "./tenant-keyring.ts";

/** What a key is for. */
export type KeyType = "envelope" | "plain-gcm" | "ed25519" | "hmac-sha256";

/** What a key may do. */
export type KeyState = "active" | "disabled" | "destroyed";

/** Names one key. */
export interface KeyName {
  readonly namespace: Namespace;
  readonly name: string;
}

/** When the next version of a key is made. 0 means never. */
export interface RotationSchedule {
  readonly rotationPeriodMs: number;
  readonly maxUses: number;
}

/** A key as stored, without its material. */
export interface NamedKey extends KeyName, RotationSchedule {
  readonly keyId: string;
  readonly type: KeyType;
  readonly state: KeyState;
  readonly latestVersion: number;
  readonly minDecryptionVersion: number;
  readonly expiresAtMs: number | undefined;
  readonly deletionAllowed: boolean;
  readonly createdAtMs: number;
  readonly rotatedAtMs: number;
}

/** A version as stored. */
export interface KeyVersion {
  readonly keyId: string;
  readonly version: number;
  readonly namespace: Namespace;
  /** Undefined when destroyed. */
  readonly wrapped: WrappedByTenant | undefined;
  readonly publicKey: Buffer | undefined;
  readonly usesReserved: number;
  readonly lastDecryptAtMs: number | undefined;
  readonly createdAtMs: number;
}

/** A version to be wrapped anew. */
export type StaleVersion = KeyVersion & { readonly type: KeyType };

/** A version about to be stored. */
export type NewKeyVersion = Pick<KeyVersion, "version" | "publicKey"> & {
  readonly wrapped: WrappedByTenant;
};

/** What CreateKey describes. */
export type KeySpec = Pick<
  NamedKey,
  "name" | "type" | "rotationPeriodMs" | "maxUses" | "expiresAtMs" | "deletionAllowed"
>;

/** What UpdateKey changes; what is absent stays. */
export interface KeyPatch {
  readonly minDecryptionVersion?: number;
  readonly rotationPeriodMs?: number;
  readonly maxUses?: number;
  /** null takes the expiry away. */
  readonly expiresAtMs?: number | null;
  readonly deletionAllowed?: boolean;
  readonly state?: "active" | "disabled";
}

/** A key that changed, as replicas hear of it. */
export interface KeyChange extends KeyName {
  readonly keyId: string;
  readonly state: KeyState;
  readonly revision: bigint;
}

/** How far a rewrap is. */
export interface RewrapProgress {
  readonly namespaceKeyVersion: number;
  readonly total: number;
  readonly remaining: number;
}

/** Reads keys, and writes what is no decision: counters, times of use, wrappings. */
export interface KeyReader {
  find(key: KeyName): Promise<NamedKey | undefined>;
  findVersion(keyId: string, version: number): Promise<KeyVersion | undefined>;
  list(namespace: Namespace, page: PageOf): Promise<Page<NamedKey>>;
  listVersions(keyId: string, page: PageOf): Promise<Page<KeyVersion>>;
  /** The last revision that was committed. */
  head(): Promise<bigint>;
  /** Changes in the order of their commits, and the database's time. */
  changesAfter(
    revision: bigint,
    limit: number,
  ): Promise<{ readonly changes: readonly KeyChange[]; readonly nowMs: number }>;
  /** Active keys whose newest version is too old, by id, behind the given one. */
  listDue(afterKeyId: string, limit: number): Promise<readonly NamedKey[]>;
  /** Takes uses from the counter of a version before they are made; the count after that, or undefined beyond the limit. */
  reserveUses(reservation: UseReservation): Promise<number | undefined>;
  markDecrypted(versions: readonly VersionName[]): Promise<void>;
  /** Versions that are not under their namespace's newest key, behind the given one. */
  listStaleVersions(
    after: VersionName | undefined,
    limit: number,
  ): Promise<readonly StaleVersion[]>;
  replaceWrapping(version: KeyVersion, wrapped: WrappedByTenant): Promise<void>;
  /** Removes namespace keys that are not the newest and under which nothing is. */
  deleteUnusedTenantKeys(): Promise<void>;
  progress(namespace: Namespace): Promise<RewrapProgress>;
}

/** Names one version. */
export interface VersionName {
  readonly keyId: string;
  readonly version: number;
}

/** Uses about to be taken. */
export interface UseReservation extends VersionName {
  readonly count: number;
  /** The counter never goes beyond it. */
  readonly limit: number;
}

/** What a namespace holds. */
export interface KeyCount {
  /** Those that are not destroyed. */
  readonly keys: number;
  /** Destroyed keys too, as long as they keep their names. */
  readonly names: number;
}

/** Changes keys, inside a transaction; each change takes a revision last, which serialises changes until the commit. */
export interface KeyWriter {
  /** Locks the row until the transaction ends. */
  lock(key: KeyName): Promise<NamedKey | undefined>;
  countOf(namespace: Namespace): Promise<KeyCount>;
  /** Errors: exists/KEY_EXISTS. */
  insert(
    key: KeySpec & KeyName & { readonly keyId: string },
    first: NewKeyVersion,
  ): Promise<NamedKey>;
  /** Adds the version after the latest one. */
  addVersion(key: NamedKey, version: NewKeyVersion): Promise<NamedKey>;
  update(key: NamedKey, patch: KeyPatch): Promise<NamedKey>;
  /** The oldest version that Decrypt has used lately, if any. */
  oldestVersionInUse(keyId: string): Promise<number | undefined>;
  /** Forgets the material of all versions, for ever. */
  shred(key: NamedKey): Promise<NamedKey>;
}

/** What a version is wrapped for: it opens in its own row only, and as a key of its own type only. */
export function keyVersionPlace(
  version: Pick<KeyVersion, "namespace" | "keyId" | "version"> & { readonly type: KeyType },
): Buffer {
  const { namespace, keyId, type } = version;
  return canonical("nexus/key-version/v1", namespace, keyId, version.version, type);
}

/** Refuses a key that is of another kind or may not be used at all.
 * Errors: precondition/KEY_TYPE_WRONG, KEY_DISABLED, KEY_DESTROYED. */
export function assertUsable(key: NamedKey, types: readonly KeyType[]): void {
  if (key.state === "destroyed") throw keyDestroyed();
  if (!types.includes(key.type)) throw keyTypeWrong(key.type);
  if (key.state === "disabled") throw keyDisabled();
}

/** Refuses a key that makes nothing new any more. Errors: precondition/KEY_EXPIRED. */
export function assertNotExpired(key: NamedKey, nowMs: number): void {
  if (key.expiresAtMs !== undefined && key.expiresAtMs <= nowMs) throw keyExpired();
}

/** Refuses a version that does not decrypt. Errors: precondition/KEY_VERSION_TOO_OLD; not_found/KEY_VERSION_NOT_FOUND. */
export function assertDecrypts(key: NamedKey, version: number): void {
  if (version < key.minDecryptionVersion) throw keyVersionTooOld(key.minDecryptionVersion);
  if (version > key.latestVersion) throw keyVersionNotFound();
}
