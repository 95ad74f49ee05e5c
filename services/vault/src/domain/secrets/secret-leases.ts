import type { Ids } from "@nexus/shared";
import type { Page, PageOf } from "../page.ts";
import type { Mutations, RequestKey, Transaction } from "../ports.ts";
import { assertState, type PathRange } from "./secret.ts";
import type { SecretAccess, SecretCaller } from "./secret-access.ts";
import { assertTaskGiven } from "./secret-access.ts";
import {
  secretLeaseLimit,
  secretLeaseNotFound,
  secretNotFound,
  secretVersionNotFound,
} from "./secret-errors.ts";
import type { SecretLease, SecretLeaseTable } from "./secret-lease.ts";
import type { SecretRead, SecretStore, SecretValue } from "./secret-store.ts";
import { claimOf, type TaskFence } from "./task-fence.ts";

/** What SecretLeases needs. */
export interface SecretLeasesOptions {
  readonly leases: SecretLeaseTable;
  readonly secrets: SecretStore;
  readonly access: SecretAccess;
  readonly fence: TaskFence;
  readonly mutations: Mutations;
  readonly ids: Ids;
  readonly events: SecretLeaseEvents;
}

/** Business events of leases. */
export interface SecretLeaseEvents {
  secretLeasesRevoked(range: PathRange, count: number): void;
}

/** Which version a caller wants to hold, and for how long. */
export interface LeaseWish extends SecretRead {
  readonly ttlMs: number;
}

/** Most leases on one secret; the contract says so. */
export const LEASES_PER_SECRET_MAX = 1000;
const REVOKE_BATCH = 500;

/** Leases on values: who holds which version until when, and how a holder hears that it should stop.
 *
 * They are rows and nothing else. A lease is over when the database's clock passes a column: no timer, no list in memory,
 * nothing to do at a start, and nothing to give up on. */
export class SecretLeases {
  readonly #options: SecretLeasesOptions;

  constructor(options: SecretLeasesOptions) {
    this.#options = options;
  }

  /** Takes a lease and reads the value. Errors: those of SecretStore.get; exhausted/SECRET_LEASE_LIMIT;
   * not_found/SECRET_LEASE_NOT_FOUND for the retry of a request whose lease is over. */
  async take(
    caller: SecretCaller,
    wish: LeaseWish,
    request: RequestKey,
  ): Promise<SecretValue & { readonly lease: SecretLease }> {
    const { path, task } = wish;
    this.#options.access.assertMay(caller, "read", path);
    const { mutations, leases, secrets, fence } = this.#options;
    if (task !== undefined) await fence.assertHolds(claimOf(caller, task));
    const { value: taken } = await mutations.run(request, (tx) => this.#insert(tx, caller, wish));
    const lease = await leases.find({ ...caller, leaseId: taken.leaseId });
    if (lease === undefined) throw secretLeaseNotFound();
    // Asks for the task once more, which costs nothing while the answer may be kept.
    return { ...(await secrets.get(caller, { ...wish, version: lease.version })), lease };
  }

  /** Errors: not_found/SECRET_LEASE_NOT_FOUND; forbidden/SECRET_FORBIDDEN; conflict/LEASE_LOST and
   * unavailable/LEASE_UNVERIFIED when it was taken for a task. */
  async renew(
    caller: SecretCaller,
    { leaseId, ttlMs }: { readonly leaseId: string; readonly ttlMs: number },
  ): Promise<{ readonly lease: SecretLease; readonly latestVersion: number }> {
    const { leases, fence } = this.#options;
    const held = { ...caller, leaseId };
    const lease = await leases.find(held);
    if (lease === undefined) throw secretLeaseNotFound();
    this.#options.access.assertMay(caller, "read", lease.path);
    if (lease.task !== undefined) await fence.assertHolds(claimOf(caller, lease.task));
    const renewed = await leases.renew(held, ttlMs);
    if (renewed === undefined) throw secretLeaseNotFound();
    return renewed;
  }

  /** Ends a lease of the caller, if it is one. */
  release(caller: SecretCaller, leaseId: string): Promise<void> {
    return this.#options.leases.release({ ...caller, leaseId });
  }

  /** Ends all leases under a prefix that the caller may revoke, in bounded statements, until none is left or the signal
   * aborts; says how many there were. */
  async revoke(caller: SecretCaller, prefix: string, signal: AbortSignal): Promise<number> {
    const { leases, events } = this.#options;
    const range = { namespace: caller.namespace, prefix };
    let revoked = 0;
    let after: SecretLease | undefined;
    do {
      signal.throwIfAborted();
      const found: readonly SecretLease[] = await leases.listByPath(range, after, REVOKE_BATCH);
      const ids = found
        .filter(({ path }) => this.#options.access.may(caller, "revoke", path))
        .map(({ leaseId }) => leaseId);
      if (ids.length > 0) revoked += await leases.end(range.namespace, ids);
      after = found.length < REVOKE_BATCH ? undefined : found.at(-1);
    } while (after !== undefined);
    if (revoked > 0) events.secretLeasesRevoked(range, revoked);
    return revoked;
  }

  /** Those in force on secrets that the caller may read, oldest first. Errors: invalid/PAGE_TOKEN_INVALID. */
  list(caller: SecretCaller, prefix: string, page: PageOf): Promise<Page<SecretLease>> {
    const range = { namespace: caller.namespace, prefix };
    return this.#options.leases.list(range, page, ({ path }) =>
      this.#options.access.may(caller, "read", path),
    );
  }

  async #insert(
    { secrets, secretLeases }: Transaction,
    caller: SecretCaller,
    { path, version, task, ttlMs }: LeaseWish,
  ): Promise<Pick<SecretLease, "leaseId">> {
    const { namespace, principalId } = caller;
    // The row is locked, so that nobody deletes the version, or counts, at the same time.
    const secret = await secrets.lock({ namespace, path });
    if (secret === undefined) throw secretNotFound();
    assertTaskGiven(caller, secret, task);
    const number = version === 0 ? secret.latestVersion : version;
    const [wanted] = await secrets.lockVersions(secret, [number]);
    if (wanted === undefined) throw secretVersionNotFound();
    assertState(wanted, ["active"]);
    if ((await secretLeases.countOf(secret.secretId)) >= LEASES_PER_SECRET_MAX) {
      throw secretLeaseLimit();
    }
    const leaseId = this.#options.ids.next("slease");
    await secretLeases.insert({ ...secret, leaseId, version: number, principalId, task, ttlMs });
    return { leaseId };
  }
}
