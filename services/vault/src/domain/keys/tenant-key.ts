import type { Namespace } from "@nexus/shared";
import { canonical } from "../crypto/canonical.ts";
import type { WrappedByRoot } from "../root-key.ts";

/** A tenant's key as stored: wrapped by the root key, and a second time for the offline recovery key. */
export interface TenantKeyRow {
  readonly namespace: Namespace;
  /** From 1; the newest wraps. */
  readonly version: number;
  readonly wrapped: WrappedByRoot;
  /** Undefined while no recovery key is configured. */
  readonly recovery: RecoveryBox | undefined;
}

/** A tenant's key for the holder of the recovery key. */
export interface RecoveryBox {
  readonly recoveryKeyId: string;
  readonly box: Buffer;
}

/** How the keys of all tenants stand towards the configured root and recovery key. */
export interface TenantKeyCounts {
  readonly total: number;
  /** Not under the current root key, or not under the current recovery key. */
  readonly stale: number;
}

/** What every stored tenant key should be wrapped by. */
export interface WrapTargets {
  readonly rootKeyId: string;
  readonly recoveryKeyId: string | undefined;
}

/** The keys of tenants in the database. */
export interface TenantKeyStore {
  newest(namespace: Namespace): Promise<TenantKeyRow | undefined>;
  find(namespace: Namespace, version: number): Promise<TenantKeyRow | undefined>;
  list(namespace: Namespace): Promise<readonly TenantKeyRow[]>;
  /** False when another replica stored this version first. */
  insertIfAbsent(row: TenantKeyRow): Promise<boolean>;
  /** By namespace and version, behind the given one. */
  listStale(
    targets: WrapTargets,
    after: TenantKeyRow | undefined,
    limit: number,
  ): Promise<readonly TenantKeyRow[]>;
  /** Replaces the wrappings, if they are still those that were read. */
  replace(from: TenantKeyRow, to: TenantKeyRow): Promise<void>;
  count(targets: WrapTargets): Promise<TenantKeyCounts>;
}

/** What a tenant key is wrapped for: it opens in its own row only. */
export function tenantKeyPlace({
  namespace,
  version,
}: {
  namespace: string;
  version: number;
}): Buffer {
  return canonical("nexus/tenant-key/v1", namespace, version);
}
