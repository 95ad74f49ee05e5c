import type { Namespace } from "@nexus/shared";
import type { Page, PageOf } from "../page.ts";
import type { PathRange, SecretName } from "./secret.ts";
import type { SecretTask } from "./task-fence.ts";

/** Says that a principal holds a value, and until when. */
export interface SecretLease extends SecretName {
  readonly leaseId: string;
  readonly version: number;
  readonly principalId: string;
  /** Undefined: it was taken for no task. */
  readonly task: SecretTask | undefined;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
}

/** A lease about to be taken. */
export interface NewSecretLease extends SecretName {
  readonly leaseId: string;
  readonly secretId: string;
  readonly version: number;
  readonly principalId: string;
  readonly task: SecretTask | undefined;
  readonly ttlMs: number;
}

/** Names a lease of a principal: nobody else's is found by its id. */
export interface HeldLease {
  readonly namespace: Namespace;
  readonly principalId: string;
  readonly leaseId: string;
}

/** Leases in the database. Every one that is over by its clock is as good as none. */
export interface SecretLeaseTable {
  find(lease: HeldLease): Promise<SecretLease | undefined>;
  /** Lets it last so long from now, and never beyond the life of a lease or of its version. */
  renew(
    lease: HeldLease,
    ttlMs: number,
  ): Promise<{ readonly lease: SecretLease; readonly latestVersion: number } | undefined>;
  release(lease: HeldLease): Promise<void>;
  /** By path and id, behind the given one. */
  listByPath(
    range: PathRange,
    after: SecretLease | undefined,
    limit: number,
  ): Promise<readonly SecretLease[]>;
  /** Ends leases; says how many there were. */
  end(namespace: Namespace, leaseIds: readonly string[]): Promise<number>;
  /** Oldest first, of those that may be shown. Errors: invalid/PAGE_TOKEN_INVALID. */
  list(
    range: PathRange,
    page: PageOf,
    mayShow: (lease: SecretLease) => boolean,
  ): Promise<Page<SecretLease>>;
}

/** Takes leases, inside a transaction. */
export interface SecretLeaseWriter {
  insert(lease: NewSecretLease): Promise<void>;
  /** Those in force. */
  countOf(secretId: string): Promise<number>;
}
