import { type Ids, NexusError } from "@nexus/shared";
import { keyChanged } from "../keys/key-errors.ts";
import { RewrapPass } from "../keys/rewrap-pass.ts";
import { onceCurrent } from "../once-current.ts";
import type { Page, PageOf } from "../page.ts";
import type { Answer, Mutations, RequestKey, Transaction } from "../ports.ts";
import type {
  Secret,
  SecretName,
  SecretReader,
  SecretSettings,
  SecretVersion,
  StaleSecretVersion,
} from "./secret.ts";
import { assertReadable, assertState } from "./secret.ts";
import { assertTaskGiven, type SecretAccess, type SecretCaller } from "./secret-access.ts";
import {
  secretCasRequired,
  secretLimit,
  secretNotFound,
  secretVersionMismatch,
  secretVersionNotFound,
} from "./secret-errors.ts";
import type { SecretSealer } from "./secret-sealer.ts";
import { claimOf, type SecretTask, type TaskFence } from "./task-fence.ts";

/** Business events of secrets. Paths go to the log, values nowhere. */
export interface SecretEvents {
  secretChanged(name: SecretName, change: SecretChange): void;
  secretsRewrapped(count: number): void;
  secretsUnreadable(count: number): void;
}

/** What happened to a secret. */
export type SecretChange = "put" | "updated" | "deleted" | "undeleted" | "destroyed" | "removed";

/** What a SecretStore needs. */
export interface SecretStoreOptions {
  readonly secrets: SecretReader;
  readonly access: SecretAccess;
  readonly mutations: Mutations;
  readonly sealer: SecretSealer;
  readonly fence: TaskFence;
  readonly events: SecretEvents;
  readonly ids: Ids;
}

/** Most secrets of a namespace; puts at the same moment may go a few beyond. */
export const SECRETS_PER_NAMESPACE_MAX = 10_000;

/** A value about to be put. */
export interface SecretPut {
  readonly path: string;
  readonly value: Uint8Array;
  /** Undefined: any; 0: there must be none. */
  readonly expectedVersion: number | undefined;
  /** Undefined: as the secret says; 0: for ever. */
  readonly ttlMs: number | undefined;
  /** Undefined: as it is. */
  readonly taskRequired: boolean | undefined;
}

/** A secret and one of its versions. */
export interface SecretWithVersion {
  readonly secret: Secret;
  readonly version: SecretVersion;
}

/** A value that was read. */
export interface SecretValue extends SecretWithVersion {
  readonly value: Buffer;
}

/** A version that is to be read. */
export interface SecretRead {
  readonly path: string;
  /** 0: the newest. */
  readonly version: number;
  /** In the name of which task. */
  readonly task?: SecretTask | undefined;
}

/** Versions of a secret that are to change. */
export interface VersionsOf {
  readonly path: string;
  readonly versions: readonly number[];
}

type ChangeVersions = (
  tx: Transaction,
  secret: Secret,
  versions: readonly number[],
) => Promise<readonly SecretVersion[]>;

/** The secrets of all tenants: versions, compare-and-set, deletion and destruction.
 *
 * Postgres holds everything, and nothing is kept in memory: what a call reads was true when the call was made. Every
 * method asks the caller's permission before it looks. */
export class SecretStore {
  readonly #options: SecretStoreOptions;
  readonly #rewrap = new RewrapPass<StaleSecretVersion>();

  constructor(options: SecretStoreOptions) {
    this.#options = options;
  }

  /** Errors: conflict/SECRET_VERSION_MISMATCH; precondition/SECRET_CAS_REQUIRED, VAULT_SEALED; exhausted/SECRET_LIMIT. */
  put(caller: SecretCaller, put: SecretPut, request: RequestKey): Promise<SecretWithVersion> {
    this.#options.access.assertMay(caller, "write", put.path);
    const { mutations, sealer } = this.#options;
    const name = nameOf(caller, put.path);
    return onceCurrent(mutations, request, async () => {
      const key = await sealer.newKey(name);
      try {
        const answer = await mutations.run(request, async (tx) => {
          const found = await this.#lockOrCreate(tx, name);
          assertExpected(found, put.expectedVersion);
          const secret = await fenced(tx, found, put.taskRequired);
          const place = { ...secret, version: secret.latestVersion + 1 };
          return tx.secrets.addVersion(secret, {
            sealed: sealer.seal(key, place, put.value),
            sizeBytes: put.value.byteLength,
            createdBy: caller.principalId,
            ttlMs: put.ttlMs ?? secret.versionTtlMs,
          });
        });
        return this.#changed(answer, name, "put");
      } finally {
        key.close();
      }
    });
  }

  /** Errors: conflict/LEASE_LOST; unavailable/LEASE_UNVERIFIED; forbidden/SECRET_TASK_REQUIRED; not_found/SECRET_NOT_FOUND,
   * SECRET_VERSION_NOT_FOUND; precondition/SECRET_DELETED, SECRET_EXPIRED, SECRET_DESTROYED, VAULT_SEALED;
   * data_loss/SEALED_KEY_UNREADABLE. */
  async get(caller: SecretCaller, read: SecretRead): Promise<SecretValue> {
    this.#options.access.assertMay(caller, "read", read.path);
    const { task } = read;
    if (task !== undefined) await this.#options.fence.assertHolds(claimOf(caller, task));
    try {
      return await this.#open(caller, read);
    } catch (error) {
      if (!NexusError.is(error, "data_loss")) throw error;
      // The key above may have gone between the reading and the opening, after a rewrap; the row says it by now.
      return this.#open(caller, read);
    }
  }

  /** A secret with its newest version. Errors: not_found/SECRET_NOT_FOUND. */
  async describe(caller: SecretCaller, path: string): Promise<SecretWithVersion> {
    this.#options.access.assertMay(caller, "read", path);
    const found = await this.#options.secrets.findVersion(nameOf(caller, path), 0);
    if (found?.version === undefined) throw secretNotFound();
    return { secret: found.secret, version: found.version };
  }

  /** Errors: not_found/SECRET_NOT_FOUND. */
  async update(
    caller: SecretCaller,
    { path, patch }: { readonly path: string; readonly patch: Partial<SecretSettings> },
    request: RequestKey,
  ): Promise<Secret> {
    this.#options.access.assertMay(caller, "write", path);
    const name = nameOf(caller, path);
    const answer = await this.#options.mutations.run(request, async (tx) =>
      tx.secrets.update(await lock(tx, name), patch),
    );
    return this.#changed(answer, name, "updated");
  }

  /** Those that the caller may read, by path. Errors: invalid/PAGE_TOKEN_INVALID. */
  list(caller: SecretCaller, prefix: string, page: PageOf): Promise<Page<Secret>> {
    const { namespace } = caller;
    return this.#options.secrets.list({ namespace, prefix }, page, ({ path }) =>
      this.#options.access.may(caller, "read", path),
    );
  }

  /** Newest first. Errors: not_found/SECRET_NOT_FOUND; invalid/PAGE_TOKEN_INVALID. */
  async listVersions(
    caller: SecretCaller,
    path: string,
    page: PageOf,
  ): Promise<Page<SecretVersion>> {
    this.#options.access.assertMay(caller, "read", path);
    const secret = await this.#options.secrets.find(nameOf(caller, path));
    if (secret === undefined) throw secretNotFound();
    return this.#options.secrets.listVersions(secret, page);
  }

  /** Soft; no versions means the newest. Errors: not_found/SECRET_NOT_FOUND, SECRET_VERSION_NOT_FOUND. */
  deleteVersions(
    caller: SecretCaller,
    { path, versions }: VersionsOf,
    request: RequestKey,
  ): Promise<readonly SecretVersion[]> {
    this.#options.access.assertMay(caller, "delete", path);
    const name = nameOf(caller, path);
    return this.#changeVersions({ name, versions, change: "deleted" }, request, (tx, secret, all) =>
      tx.secrets.deleteVersions(secret, all.length === 0 ? [secret.latestVersion] : all),
    );
  }

  /** Errors: as deleteVersions; precondition/SECRET_DESTROYED, SECRET_EXPIRED. */
  undeleteVersions(
    caller: SecretCaller,
    { path, versions }: VersionsOf,
    request: RequestKey,
  ): Promise<readonly SecretVersion[]> {
    this.#options.access.assertMay(caller, "delete", path);
    const name = nameOf(caller, path);
    return this.#changeVersions(
      { name, versions, change: "undeleted" },
      request,
      (tx, secret, all) => tx.secrets.undeleteVersions(secret, all),
    );
  }

  /** For ever. Errors: as deleteVersions. */
  destroyVersions(
    caller: SecretCaller,
    { path, versions }: VersionsOf,
    request: RequestKey,
  ): Promise<readonly SecretVersion[]> {
    this.#options.access.assertMay(caller, "destroy", path);
    const name = nameOf(caller, path);
    return this.#changeVersions(
      { name, versions, change: "destroyed" },
      request,
      (tx, secret, all) => tx.secrets.destroyVersions(secret, all),
    );
  }

  /** Removes a secret with everything. Errors: not_found/SECRET_NOT_FOUND. */
  async destroy(caller: SecretCaller, path: string, request: RequestKey): Promise<void> {
    this.#options.access.assertMay(caller, "destroy", path);
    const name = nameOf(caller, path);
    const answer = await this.#options.mutations.run(request, async (tx) => {
      await tx.secrets.destroy(await lock(tx, name));
      return {};
    });
    this.#changed(answer, name, "removed");
  }

  /** Moves some versions under the newest keys of their namespaces. For a loop. */
  async rewrapStale(): Promise<void> {
    const { secrets, sealer, events } = this.#options;
    const { moved, unreadable } = await this.#rewrap.step(
      (after, limit) => secrets.listStale(after, limit),
      async (version) => secrets.replaceWrapping(version, await sealer.rewrap(version)),
    );
    if (moved > 0) events.secretsRewrapped(moved);
    if (unreadable > 0) events.secretsUnreadable(unreadable);
  }

  async #open(caller: SecretCaller, read: SecretRead): Promise<SecretValue> {
    const { secrets, sealer } = this.#options;
    const found = await secrets.findVersion(nameOf(caller, read.path), read.version);
    if (found === undefined) throw secretNotFound();
    const { secret, version } = found;
    assertTaskGiven(caller, secret, read.task);
    assertReadable(version);
    const place = { ...secret, version: version.version };
    return { secret, version, value: await sealer.open(place, version.sealed) };
  }

  async #lockOrCreate({ secrets }: Transaction, name: SecretName): Promise<Secret> {
    const existing = await secrets.lock(name);
    if (existing !== undefined) return existing;
    if ((await secrets.countOf(name.namespace)) >= SECRETS_PER_NAMESPACE_MAX) throw secretLimit();
    const made = await secrets.insertIfAbsent(name, this.#options.ids.next("secret"));
    const secret = made ?? (await secrets.lock(name));
    // Made and destroyed again by others while this one waited: begin anew.
    if (secret === undefined) throw keyChanged();
    return secret;
  }

  async #changeVersions(
    {
      name,
      versions,
      change,
    }: {
      readonly name: SecretName;
      readonly versions: readonly number[];
      readonly change: "deleted" | "undeleted" | "destroyed";
    },
    request: RequestKey,
    work: ChangeVersions,
  ): Promise<readonly SecretVersion[]> {
    const answer = await this.#options.mutations.run(request, async (tx) => {
      const secret = await lock(tx, name);
      const found = await tx.secrets.lockVersions(secret, versions);
      if (found.length < versions.length) throw secretVersionNotFound();
      if (change === "undeleted") for (const one of found) assertState(one, ["active", "deleted"]);
      return work(tx, secret, versions);
    });
    return this.#changed(answer, name, change);
  }

  #changed<T>(answer: Answer<T>, name: SecretName, change: SecretChange): T {
    if (!answer.replayed) this.#options.events.secretChanged(name, change);
    return answer.value;
  }
}

function nameOf({ namespace }: SecretCaller, path: string): SecretName {
  return { namespace, path };
}

async function lock({ secrets }: Transaction, name: SecretName): Promise<Secret> {
  const secret = await secrets.lock(name);
  if (secret === undefined) throw secretNotFound();
  return secret;
}

/** The secret with its setting as a put wants it: what is put is not readable without it for a moment. */
async function fenced(
  tx: Transaction,
  secret: Secret,
  taskRequired: boolean | undefined,
): Promise<Secret> {
  if (taskRequired === undefined || taskRequired === secret.taskRequired) return secret;
  return tx.secrets.update(secret, { taskRequired });
}

function assertExpected(
  { latestVersion, casRequired }: Secret,
  expected: number | undefined,
): void {
  if (expected === undefined && casRequired) throw secretCasRequired();
  if (expected !== undefined && expected !== latestVersion) {
    throw secretVersionMismatch(latestVersion);
  }
}
