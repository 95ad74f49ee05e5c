import { type Cache, type Clock, createLruCache, type Ids, type Namespace } from "@nexus/shared";
import { coalesced } from "../coalesced.ts";
import { vaultSealed } from "../errors.ts";
import { onceCurrent } from "../once-current.ts";
import type { Page, PageOf } from "../page.ts";
import type { Answer, Mutations, RequestKey, Transactions } from "../ports.ts";
import { DecryptNotes } from "./decrypt-notes.ts";
import {
  keyDeletionForbidden,
  keyDestroyed,
  keyDisabled,
  keyLimit,
  keyNotFound,
  keyVersionInUse,
  keyVersionNotFound,
} from "./key-errors.ts";
import { type KeyHold, KeyHolds } from "./key-holds.ts";
import { newKeyMaterial } from "./key-material.ts";
import type {
  KeyName,
  KeyPatch,
  KeyReader,
  KeySpec,
  KeyType,
  KeyVersion,
  NamedKey,
  NewKeyVersion,
  RewrapProgress,
} from "./named-key.ts";
import { keyVersionPlace } from "./named-key.ts";
import { VersionRewrap } from "./rewrap.ts";
import { addNext, assertMayRotate, isKeyChanged, KEY_VERSIONS_MAX } from "./rotation.ts";
import type { SecretCache } from "./secret-cache.ts";
import type { TenantKeyring } from "./tenant-keyring.ts";
import { UseCounter } from "./use-counter.ts";

/** Business events of keys. */
export interface KeyEvents {
  keyCreated(key: NamedKey): void;
  keyRotated(key: NamedKey, cause: "request" | "schedule"): void;
  keyChanged(key: NamedKey, change: "updated" | "disabled" | "enabled" | "destroyed"): void;
  keyRotationFailed(key: NamedKey, error: unknown): void;
  versionsRewrapped(count: number): void;
  versionsUnreadable(count: number): void;
}

/** What a KeyStore needs. */
export interface KeyStoreOptions {
  readonly keys: KeyReader;
  readonly mutations: Mutations;
  readonly transactions: Transactions;
  readonly keyring: TenantKeyring;
  readonly secrets: SecretCache;
  readonly events: KeyEvents;
  readonly clock: Clock;
  readonly ids: Ids;
}

/** Most keys of a namespace. */
export const KEYS_PER_NAMESPACE_MAX = 10_000;
/** Most names, those of destroyed keys included: bounds what making and destroying keys leaves behind for a while. */
const NAMES_PER_NAMESPACE_MAX = 100_000;

/** Keys whose metadata is held, and for how long when no change is heard: the bound while the database is away. */
const RECORDS_MAX = 10_000;
const RECORD_TTL_MS = 30_000;
const CHANGES_BATCH = 512;
const DUE_BATCH = 50;

/** The named keys of all tenants: generation, rotation, expiration, destruction, and the way to their material.
 *
 * Postgres holds the truth. A replica keeps metadata and opened keys in memory, and drops what it hears to have changed;
 * a rotation is never waited for: until it is heard of, the version before goes on. */
export class KeyStore {
  readonly #options: KeyStoreOptions;
  readonly #records: Cache<string, NamedKey>;
  readonly #counter: UseCounter;
  readonly #rewrap: VersionRewrap;
  readonly #holds = new KeyHolds();
  readonly #rotating = new Set<string>();
  readonly #decrypted: DecryptNotes;
  /** Undefined until the first refresh. */
  #revision: bigint | undefined;
  #generation = 0;
  #clockOffsetMs = 0;

  constructor(options: KeyStoreOptions) {
    this.#options = options;
    const { clock, keys } = options;
    this.#records = createLruCache({ max: RECORDS_MAX, ttlMs: RECORD_TTL_MS, clock });
    this.#decrypted = new DecryptNotes(keys, clock);
    this.#rewrap = new VersionRewrap(keys, options.keyring);
    this.#counter = new UseCounter({ keys, onDue: (key) => this.#rotateSoon(key) });
  }

  /** The database's time, as it was last heard. */
  get nowMs(): number {
    return this.#options.clock.nowMs() + this.#clockOffsetMs;
  }

  /** Hears the database's time. */
  hearTime(nowMs: number): void {
    this.#clockOffsetMs = nowMs - this.#options.clock.nowMs();
  }

  /** Errors: not_found/KEY_NOT_FOUND. */
  async get(key: KeyName): Promise<NamedKey> {
    const name = recordName(key);
    const known = this.#records.get(name);
    if (known !== undefined) return known;
    const generation = this.#generation;
    const found = await this.#options.keys.find(key);
    if (found === undefined) throw keyNotFound();
    // What was read before a change was heard is good for this call and not kept.
    if (generation === this.#generation) this.#records.set(name, found);
    return found;
  }

  /** Reads a key past the cache, for who administers it. Errors: not_found/KEY_NOT_FOUND. */
  async read(key: KeyName): Promise<NamedKey> {
    const found = await this.#options.keys.find(key);
    if (found === undefined) throw keyNotFound();
    return found;
  }

  /** By name. Errors: invalid/PAGE_TOKEN_INVALID. */
  list(namespace: Namespace, page: PageOf): Promise<Page<NamedKey>> {
    return this.#options.keys.list(namespace, page);
  }

  /** Newest first. Errors: not_found/KEY_NOT_FOUND; invalid/PAGE_TOKEN_INVALID. */
  async listVersions(
    key: KeyName,
    page: PageOf,
  ): Promise<Page<KeyVersion> & { readonly key: NamedKey }> {
    const found = await this.read(key);
    return { ...(await this.#options.keys.listVersions(found.keyId, page)), key: found };
  }

  /** Lends the material of one version for one synchronous step.
   * Errors: not_found/KEY_VERSION_NOT_FOUND; precondition/KEY_DESTROYED, VAULT_SEALED. */
  use<T>(key: NamedKey, version: number, use: (secret: Buffer) => T): Promise<T> {
    const { keys, keyring, secrets } = this.#options;
    const load = async () => {
      const row = await keys.findVersion(key.keyId, version);
      if (row === undefined) throw keyVersionNotFound();
      if (row.wrapped === undefined) throw keyDestroyed();
      const place = keyVersionPlace({ ...row, type: key.type });
      return keyring.unwrap(key.namespace, place, row.wrapped);
    };
    return secrets.use(`${key.keyId}/${version}`, load, use);
  }

  /** Announces a use that lasts longer than one step; check the key after it, not before. Release it in the end. */
  hold({ keyId }: NamedKey): KeyHold {
    return this.#holds.hold(keyId);
  }

  /** Counts uses of the latest version before they are made. Errors: exhausted/KEY_EXHAUSTED. */
  countUses(key: NamedKey, uses: number): Promise<void> {
    return this.#counter.take(key, uses);
  }

  /** Notes that a version was used to decrypt. Never fails. */
  noteDecrypted({ keyId }: NamedKey, version: number): Promise<void> {
    return this.#decrypted.note({ keyId, version });
  }

  /** Errors: exists/KEY_EXISTS; exhausted/KEY_LIMIT. */
  async create(namespace: Namespace, spec: KeySpec, request: RequestKey): Promise<NamedKey> {
    const { mutations, ids, events } = this.#options;
    return onceCurrent(mutations, request, async () => {
      const keyId = ids.next("key");
      const first = await this.#newVersion({ namespace, keyId, type: spec.type, version: 1 });
      const answer = await mutations.run(request, async ({ keys }) => {
        const held = await keys.countOf(namespace);
        const full = held.keys >= KEYS_PER_NAMESPACE_MAX || held.names >= NAMES_PER_NAMESPACE_MAX;
        if (full) throw keyLimit();
        return keys.insert({ ...spec, namespace, keyId }, first);
      });
      return this.#changed(answer, (key) => events.keyCreated(key));
    });
  }

  /** Errors: precondition/KEY_DISABLED, KEY_DESTROYED; exhausted/KEY_VERSION_LIMIT. */
  async rotate(key: KeyName, request: RequestKey): Promise<NamedKey> {
    const { mutations, events } = this.#options;
    return onceCurrent(mutations, request, async () => {
      const before = await this.read(key);
      const next = await this.#nextVersion(before);
      const answer = await mutations.run(request, (tx) => addNext(tx, before, next));
      return this.#changed(answer, (rotated) => events.keyRotated(rotated, "request"));
    });
  }

  /** Errors: invalid for a minimum beyond the latest version; precondition/KEY_VERSION_IN_USE, KEY_DESTROYED. */
  async update(
    key: KeyName,
    { patch, force }: { readonly patch: KeyPatch; readonly force: boolean },
    request: RequestKey,
  ): Promise<NamedKey> {
    const { mutations, events } = this.#options;
    await this.flushDecrypted();
    const answer = await mutations.run(request, async ({ keys }) => {
      const locked = await keys.lock(key);
      if (locked === undefined) throw keyNotFound();
      if (locked.state === "destroyed") throw keyDestroyed();
      const minimum = patch.minDecryptionVersion ?? 0;
      if (minimum > locked.latestVersion) throw keyVersionNotFound();
      if (minimum > locked.minDecryptionVersion && !force) {
        const used = await keys.oldestVersionInUse(locked.keyId);
        if (used !== undefined && used < minimum) throw keyVersionInUse(used);
      }
      return keys.update(locked, patch);
    });
    return this.#changed(answer, (updated) => events.keyChanged(updated, "updated"));
  }

  /** Switches a key off or on. Errors: precondition/KEY_DESTROYED. */
  async setState(
    key: KeyName,
    state: "active" | "disabled",
    request: RequestKey,
  ): Promise<NamedKey> {
    const { mutations, events } = this.#options;
    const answer = await mutations.run(request, async ({ keys }) => {
      const locked = await keys.lock(key);
      if (locked === undefined) throw keyNotFound();
      if (locked.state === "destroyed") throw keyDestroyed();
      return locked.state === state ? locked : keys.update(locked, { state });
    });
    const change = state === "active" ? "enabled" : "disabled";
    return this.#changed(answer, (changed) => events.keyChanged(changed, change));
  }

  /** Destroys all versions. Errors: precondition/KEY_DELETION_FORBIDDEN. */
  async destroy(key: KeyName, request: RequestKey): Promise<NamedKey> {
    const { mutations, events } = this.#options;
    const answer = await mutations.run(request, async ({ keys }) => {
      const locked = await keys.lock(key);
      if (locked === undefined) throw keyNotFound();
      if (locked.state === "destroyed") return locked;
      if (!locked.deletionAllowed) throw keyDeletionForbidden();
      return keys.shred(locked);
    });
    return this.#changed(answer, (gone) => events.keyChanged(gone, "destroyed"));
  }

  /** Makes the next version of a namespace's own key; rewrapStale() moves what is under the others. */
  async rotateNamespaceKey(namespace: Namespace, request: RequestKey): Promise<number> {
    const { mutations, keyring } = this.#options;
    const earlier = await mutations.replay<{ readonly version: number }>(request);
    if (earlier !== undefined) return earlier.value.version;
    // Not in the transaction, which must not wait for another connection or for a KMS. A crash in between leaves a
    // version more than was asked for, and that is all.
    const version = await keyring.rotate(namespace);
    return (await mutations.run(request, async () => ({ version }))).value.version;
  }

  /** How far the rewrap of a namespace is. */
  rewrapProgress(namespace: Namespace): Promise<RewrapProgress> {
    return this.#options.keys.progress(namespace);
  }

  /** Hears of changes that any replica committed before this call, and of the database's time. */
  readonly refresh: () => Promise<void> = coalesced(async () => {
    const { keys } = this.#options;
    if (this.#revision === undefined) {
      this.#revision = await keys.head();
      // Read before the head, and perhaps changed since.
      this.#generation++;
      this.#records.clear();
    }
    for (;;) {
      const { changes, nowMs } = await keys.changesAfter(this.#revision, CHANGES_BATCH);
      this.hearTime(nowMs);
      for (const change of changes) this.#forget(change);
      this.#revision = changes.at(-1)?.revision ?? this.#revision;
      if (changes.length < CHANGES_BATCH) return;
    }
  });

  /** Rotates all keys whose newest version is too old, while it may. One that cannot be rotated is due again the next
   * time, and holds up none behind it. For a loop. */
  async rotateDue(mayGoOn: () => boolean): Promise<void> {
    let after: string | undefined = "";
    while (after !== undefined) {
      const due: readonly NamedKey[] = await this.#options.keys.listDue(after, DUE_BATCH);
      for (const key of due) {
        if (!mayGoOn()) return;
        if (key.latestVersion < KEY_VERSIONS_MAX) await this.#rotateScheduled(key);
      }
      after = due.length < DUE_BATCH ? undefined : due.at(-1)?.keyId;
    }
  }

  /** Moves some versions under the newest keys of their namespaces. For a loop. */
  async rewrapStale(): Promise<void> {
    const { events } = this.#options;
    const { moved, unreadable } = await this.#rewrap.step();
    if (moved > 0) events.versionsRewrapped(moved);
    if (unreadable > 0) events.versionsUnreadable(unreadable);
  }

  /** Writes which versions were used to decrypt. For a loop. */
  async flushDecrypted(): Promise<void> {
    await this.#decrypted.flush();
  }

  /** Drops everything in memory, as a seal does. */
  close(): void {
    this.#generation++;
    this.#records.clear();
    this.#holds.endAll(vaultSealed());
    this.#options.secrets.deleteAll();
  }

  /** A use counter reached its mark: the next version is made beside the uses, never before them. */
  #rotateSoon(key: NamedKey): void {
    if (this.#rotating.has(key.keyId)) return;
    this.#rotating.add(key.keyId);
    void this.#rotateScheduled(key).finally(() => this.#rotating.delete(key.keyId));
  }

  async #rotateScheduled(due: NamedKey): Promise<void> {
    const { transactions, events } = this.#options;
    try {
      const before = await this.read(due);
      if (before.latestVersion !== due.latestVersion || before.state !== "active") return;
      const next = await this.#nextVersion(before);
      const rotated = await transactions.run(async (tx) => {
        await tx.audit.enter("vault:scheduled-key-rotation", {
          namespace: before.namespace,
          resource: before.name,
        });
        return addNext(tx, before, next);
      });
      this.#forget(rotated);
      events.keyRotated(rotated, "schedule");
    } catch (error) {
      // Another replica was faster: that is what was wanted.
      if (!isKeyChanged(error)) events.keyRotationFailed(due, error);
    }
  }

  #nextVersion(key: NamedKey): Promise<NewKeyVersion> {
    assertMayRotate(key);
    return this.#newVersion({ ...key, version: key.latestVersion + 1 });
  }

  /** Made before the transaction that stores it: wrapping may ask the database, or a KMS. */
  async #newVersion(version: {
    readonly namespace: Namespace;
    readonly keyId: string;
    readonly type: KeyType;
    readonly version: number;
  }): Promise<NewKeyVersion> {
    const { secret, publicKey } = newKeyMaterial(version.type);
    try {
      const place = keyVersionPlace(version);
      const wrapped = await this.#options.keyring.wrap(version.namespace, place, secret);
      return { version: version.version, publicKey, wrapped };
    } finally {
      secret.fill(0);
    }
  }

  #changed(answer: Answer<NamedKey>, report: (key: NamedKey) => void): NamedKey {
    // This replica follows before it answers; the others poll.
    this.#forget(answer.value);
    if (!answer.replayed) report(answer.value);
    return answer.value;
  }

  #forget(key: KeyName & Pick<NamedKey, "keyId" | "state">): void {
    this.#generation++;
    this.#records.delete(recordName(key));
    if (key.state === "active") return;
    this.#holds.end(key.keyId, key.state === "disabled" ? keyDisabled() : keyDestroyed());
    this.#options.secrets.deleteAll(`${key.keyId}/`);
    this.#counter.forget(key.keyId);
  }
}

function recordName({ namespace, name }: KeyName): string {
  return `${namespace}/${name}`;
}
