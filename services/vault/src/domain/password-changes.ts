import type { PolicyBook } from "./access/policy-book.ts";
import type { CryptoManager } from "./crypto-manager.ts";
import {
  invalidField,
  passwordWrong,
  principalIsCaller,
  principalNotFound,
  principalNotUser,
} from "./errors.ts";
import type {
  AuthEvents,
  LoginFailures,
  Mutations,
  PrincipalKey,
  PrincipalReader,
  RequestKey,
} from "./ports.ts";
import type { Caller, PrincipalRecord, StoredPrincipal } from "./principal.ts";
import { withoutCredentials } from "./principal.ts";
import type { RevocationLog } from "./revocation-log.ts";
import { revokePrincipal } from "./revoke.ts";
import { everyScope, grantableScopes } from "./scope-sets.ts";

/** What PasswordChanges needs. */
export interface PasswordChangesOptions {
  readonly principals: PrincipalReader;
  readonly mutations: Mutations;
  readonly crypto: CryptoManager;
  readonly failures: LoginFailures;
  readonly book: PolicyBook;
  readonly revocations: RevocationLog;
  readonly events: AuthEvents;
}

/** Another password of one's own, with the proof. */
export interface PasswordChange {
  readonly oldPassword: string;
  readonly newPassword: string;
  /** What counts as one caller. */
  readonly address: string;
}

/** Shortest and longest password in bytes; the longest bounds the work before hashing. */
export const PASSWORD_BYTES_MIN = 8;
export const PASSWORD_BYTES_MAX = 1024;

/** Errors: invalid/REQUEST_INVALID when the password is too short or too long. */
export function assertPassword(field: string, password: string): void {
  const bytes = Buffer.byteLength(password, "utf8");
  if (bytes < PASSWORD_BYTES_MIN || bytes > PASSWORD_BYTES_MAX) {
    const range = `${PASSWORD_BYTES_MIN} to ${PASSWORD_BYTES_MAX} bytes`;
    throw invalidField(field, `must have ${range} for a user`);
  }
}

/** Puts another password in the place of a user's. A login that was checked against the old one and is not finished yet
 * is refused by the version of the credential, which grows. */
export class PasswordChanges {
  readonly #options: PasswordChangesOptions;

  constructor(options: PasswordChangesOptions) {
    this.#options = options;
  }

  /** Changes the caller's own password and ends its other logins; its own lives on by its refresh token.
   *
   * Errors: forbidden/PASSWORD_WRONG for a wrong old password and for a locked name, after the same work as a login;
   * precondition/PRINCIPAL_NOT_USER; invalid/REQUEST_INVALID when the passwords are the same;
   * exhausted/LOGIN_BUSY; conflict/REQUEST_ID_REUSED. */
  async change(
    caller: Caller,
    { oldPassword, newPassword, address }: PasswordChange,
    request: RequestKey,
    signal?: AbortSignal,
  ): Promise<void> {
    const { mutations, crypto } = this.#options;
    assertPassword("new_password", newPassword);
    if (newPassword.normalize("NFKC") === oldPassword.normalize("NFKC")) {
      throw invalidField("new_password", "must be another one than the old");
    }
    // A retry finds the new password in place of the old, which must not count as a guess.
    if ((await mutations.replay(request)) !== undefined) return;
    const proven = await this.#proven(caller, { password: oldPassword, address }, signal);
    const hash = await crypto.hashPassword(newPassword, signal);
    const key = { namespace: caller.namespace, principalId: caller.principalId };
    const { replayed } = await mutations.run(request, async (tx) => {
      const user = await tx.principals.lock(key);
      const isSame = user?.credentialVersion === proven.credentialVersion;
      if (user === undefined || user.disabled || !isSame) throw passwordWrong();
      await tx.principals.replacePassword(key, hash);
      await revokePrincipal(tx, key, caller.familyId);
      return {};
    });
    await this.#done(replayed, key, "user");
  }

  /** Gives a user another password and takes back all it holds. Nobody takes over a user who holds more than itself.
   *
   * Errors: not_found/PRINCIPAL_NOT_FOUND; precondition/PRINCIPAL_NOT_USER, precondition/PRINCIPAL_IS_CALLER;
   * forbidden/SCOPE_ESCALATION; exhausted/LOGIN_BUSY; conflict/REQUEST_ID_REUSED. */
  async reset(
    caller: Caller,
    { principalId, password }: { readonly principalId: string; readonly password: string },
    request: RequestKey,
    signal?: AbortSignal,
  ): Promise<PrincipalRecord> {
    const { mutations, crypto, principals } = this.#options;
    if (principalId === caller.principalId) throw principalIsCaller();
    assertPassword("password", password);
    const key = { namespace: caller.namespace, principalId };
    // Looked up before the hash is made: neither a retry nor who may not must cost one.
    const earlier = await mutations.replay<PrincipalRecord>(request);
    if (earlier !== undefined) return earlier.value;
    this.#assertMayReset(caller, await principals.find(key));
    const hash = await crypto.hashPassword(password, signal);
    const { value, replayed } = await mutations.run(request, async (tx) => {
      const user = this.#assertMayReset(caller, await tx.principals.lock(key));
      await tx.principals.replacePassword(key, hash);
      await tx.loginFailures.forget(this.#nameOf(key));
      await revokePrincipal(tx, key);
      return withoutCredentials(user);
    });
    await this.#done(replayed, key, "administrator");
    return value;
  }

  /** Forgets the failed logins of a user, so that it can log in again. Nobody lets guesses at who is more than itself go on,
   * or its own: a stolen token must not become a password.
   *
   * Errors: not_found/PRINCIPAL_NOT_FOUND; precondition/PRINCIPAL_NOT_USER, precondition/PRINCIPAL_IS_CALLER;
   * forbidden/SCOPE_ESCALATION; conflict/REQUEST_ID_REUSED. */
  async unlock(caller: Caller, principalId: string, request: RequestKey): Promise<PrincipalRecord> {
    const { mutations, events } = this.#options;
    if (principalId === caller.principalId) throw principalIsCaller();
    const key = { namespace: caller.namespace, principalId };
    const { value, replayed } = await mutations.run(request, async (tx) => {
      const user = this.#assertMayReset(caller, await tx.principals.lock(key));
      await tx.loginFailures.forget(this.#nameOf(key));
      return withoutCredentials(user);
    });
    if (!replayed) events.loginUnlocked(key);
    return value;
  }

  #nameOf({ namespace, principalId }: PrincipalKey) {
    return { namespace, digest: this.#options.crypto.digest("login-name", principalId) };
  }

  /** The caller, when the password is its own; a failure counts as one of a login. */
  async #proven(
    { namespace, principalId }: Caller,
    { password, address }: { readonly password: string; readonly address: string },
    signal: AbortSignal | undefined,
  ): Promise<StoredPrincipal> {
    const { principals, crypto, failures, events } = this.#options;
    const user = await principals.find({ namespace, principalId });
    if (user?.kind !== "user") throw principalNotUser();
    const name = { namespace, digest: crypto.digest("login-name", principalId), address };
    const { matches } = await crypto.checkPassword(
      password,
      async () => ((await failures.isLocked(name)) ? undefined : user.passwordHash),
      signal,
    );
    if (!matches) {
      if (await failures.add(name)) events.loginLocked(namespace, principalId);
      throw passwordWrong();
    }
    if (!(await failures.clear(name))) throw passwordWrong();
    return user;
  }

  #assertMayReset(caller: Caller, user: StoredPrincipal | undefined): StoredPrincipal {
    if (user === undefined) throw principalNotFound();
    if (user.kind !== "user") throw principalNotUser();
    grantableScopes(caller, everyScope(user), this.#options.book.deniedActions(caller));
    return user;
  }

  async #done(
    replayed: boolean,
    key: PrincipalKey,
    by: Parameters<AuthEvents["passwordReplaced"]>[1],
  ): Promise<void> {
    const { events, revocations } = this.#options;
    if (!replayed) events.passwordReplaced(key, by);
    // This replica refuses the tokens before it answers; the others poll.
    await revocations.refresh().catch(() => undefined);
  }
}
