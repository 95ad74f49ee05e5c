import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Duration, durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import {
  type PutSecretRequest,
  type SecretLeaseSchema,
  type SecretSchema,
  type SecretVersionSchema,
  SecretVersionState,
  type UpdateSecretMetadataRequest,
} from "@nexus/proto/vault";
import type {
  SecretVersionState as DomainState,
  Secret,
  SecretSettings,
  SecretVersion,
} from "../domain/secrets/secret.ts";
import type { SecretLease } from "../domain/secrets/secret-lease.ts";
import type { SecretPut, SecretWithVersion } from "../domain/secrets/secret-store.ts";
import { toTimestamp } from "./convert.ts";

const STATES: Readonly<Record<DomainState, SecretVersionState>> = {
  active: SecretVersionState.ACTIVE,
  deleted: SecretVersionState.DELETED,
  expired: SecretVersionState.EXPIRED,
  destroyed: SecretVersionState.DESTROYED,
};

/** A lease without a wish lasts so long; the contract says so. */
const LEASE_TTL_DEFAULT_MS = 3_600_000;

/** A secret to the wire. */
export function toSecret(secret: Secret): MessageInitShape<typeof SecretSchema> {
  const { versionTtlMs } = secret;
  return {
    path: secret.path,
    latestVersion: secret.latestVersion,
    maxVersions: secret.maxVersions,
    casRequired: secret.casRequired,
    taskRequired: secret.taskRequired,
    labels: { ...secret.labels },
    createTime: toTimestamp(secret.createdAtMs),
    updateTime: toTimestamp(secret.updatedAtMs),
    ...(versionTtlMs === 0 ? {} : { versionTtl: durationFromMs(versionTtlMs) }),
  };
}

/** A version to the wire, without its value. */
export function toSecretVersion(
  version: SecretVersion,
): MessageInitShape<typeof SecretVersionSchema> {
  const { expiresAtMs, deletedAtMs, destroyedAtMs } = version;
  return {
    version: version.version,
    state: STATES[version.state],
    sizeBytes: version.sizeBytes,
    createdBy: version.createdBy,
    createTime: toTimestamp(version.createdAtMs),
    ...(expiresAtMs === undefined ? {} : { expireTime: toTimestamp(expiresAtMs) }),
    ...(deletedAtMs === undefined ? {} : { deleteTime: toTimestamp(deletedAtMs) }),
    ...(destroyedAtMs === undefined ? {} : { destroyTime: toTimestamp(destroyedAtMs) }),
  };
}

/** A secret with one of its versions to the wire. */
export function toSecretWithVersion({ secret, version }: SecretWithVersion): {
  readonly secret: MessageInitShape<typeof SecretSchema>;
  readonly version: MessageInitShape<typeof SecretVersionSchema>;
} {
  return { secret: toSecret(secret), version: toSecretVersion(version) };
}

/** A lease to the wire. */
export function toSecretLease(lease: SecretLease): MessageInitShape<typeof SecretLeaseSchema> {
  const { leaseId, path, version, principalId, task, createdAtMs, expiresAtMs } = lease;
  return {
    leaseId,
    path,
    version,
    principalId,
    createTime: toTimestamp(createdAtMs),
    expireTime: toTimestamp(expiresAtMs),
    ...(task === undefined ? {} : { task }),
  };
}

/** The value that a request brings. */
export function fromPut(request: PutSecretRequest): SecretPut {
  const { path, value, expectedVersion, ttl, taskRequired } = request;
  const ttlMs = ttl === undefined ? undefined : durationMs(ttl);
  return { path, value, expectedVersion, ttlMs, taskRequired };
}

/** What a request changes. */
export function fromPatch(request: UpdateSecretMetadataRequest): Partial<SecretSettings> {
  const { maxVersions, casRequired, taskRequired, versionTtl, labels } = request;
  return {
    ...(maxVersions === undefined ? {} : { maxVersions }),
    ...(casRequired === undefined ? {} : { casRequired }),
    ...(taskRequired === undefined ? {} : { taskRequired }),
    ...(versionTtl === undefined ? {} : { versionTtlMs: durationMs(versionTtl) }),
    ...(labels === undefined ? {} : { labels: labels.values }),
  };
}

/** How long a lease is to last. */
export function fromLeaseTtl(ttl: Duration | undefined): number {
  return ttl === undefined ? LEASE_TTL_DEFAULT_MS : durationMs(ttl);
}
