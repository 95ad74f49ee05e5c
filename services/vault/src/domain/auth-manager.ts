import type { Ids, Namespace } from "@nexus/shared";
import { NexusError } from "@nexus/shared";
import type { CryptoManager } from "./crypto-manager.ts";
import { credentialsInvalid, refreshReused, vaultSealed } from "./errors.ts";
import { canonicalLoginName } from "./login-name.ts";
import { assertMayActIn } from "./namespaces.ts";
import type {
  AuditLeaf,
  AuthEvents,
  Issuance,
  LoginFailures,
  LoginName,
  Mutations,
  PrincipalKey,
  PrincipalReader,
  PrincipalUpkeep,
  ProofMethod,
  RequestKey,
  TokenFamilies,
  TokenFormat,
  Transaction,
  Transactions,
} from "./ports.ts";
import type {
  Caller,
  IssuedTokens,
  PrincipalRecord,
  StoredPrincipal,
  TokenSubject,
} from "./principal.ts";
import type { RevocationRecord } from "./revocation.ts";
import type { RevocationLog } from "./revocation-log.ts";
import { revokeFamily, revokeNamespace, revokePrincipal } from "./revoke.ts";
import { effectiveScopes } from "./scope-sets.ts";
import type { SigningKeyRing } from "./signing-key-ring.ts";

/** What an AuthManager needs. */
export interface AuthManagerOptions {
  readonly principals: PrincipalReader;
  readonly upkeep: PrincipalUpkeep;
  readonly families: TokenFamilies;
  readonly failures: LoginFailures;
  readonly transactions: Transactions;
  readonly mutations: Mutations;
  readonly crypto: CryptoManager;
  readonly keys: SigningKeyRing;
  readonly tokens: TokenFormat;
  readonly revocations: RevocationLog;
  readonly events: AuthEvents;
  readonly ids: Ids;
  readonly accessTtlMs: number;
  readonly refreshTtlMs: number;
  /** How long after its use a refresh token answers again with what followed it; 0: never. */
  readonly refreshGraceMs: number;
}

/** What RevokeTokens can name. */
export type RevokeTarget =
  | { readonly tokenId: string }
  | { readonly familyId: string }
  | { readonly principalId: string }
  | { readonly wholeNamespace: Namespace };

/** A password and whose it claims to be. */
export interface PasswordProof extends PrincipalKey {
  readonly password: string;
}

/** A client secret and whose it claims to be. */
export interface SecretProof extends PrincipalKey {
  readonly clientSecret: string;
}

/** Who waits for a grant, and the entry that is stored with it. */
export interface GrantOptions {
  /** What counts as one caller of a login. @default "", one for all whose address is not known */
  readonly address?: string;
  readonly signal?: AbortSignal | undefined;
  readonly leaf?: AuditLeaf | undefined;
}

/** Turns proofs of identity into tokens and takes tokens back.
 *
 * Every token is issued under a lock on its principal's row and dated by the database after that lock, so a token is
 * either older than a revocation, and covered, or was issued after it took effect. */
export class AuthManager {
  readonly #options: AuthManagerOptions;

  constructor(options: AuthManagerOptions) {
    this.#options = options;
  }

  /** Logs a user in. Errors: unauthenticated/CREDENTIALS_INVALID for every wrong proof and for a locked name, after the
   * same work; exhausted/LOGIN_BUSY when too many wait, before any work; conflict/LOCK_NOT_AVAILABLE while the user is being changed. */
  login(proof: PasswordProof, options: GrantOptions = {}): Promise<IssuedTokens> {
    const { signal, leaf, address = "" } = options;
    return this.#watched("password", async () => {
      const { principals, crypto, failures } = this.#options;
      const { namespace } = proof;
      const principalId = canonicalLoginName(proof.principalId);
      const name = { namespace, digest: crypto.digest("login-name", principalId), address };
      let user: StoredPrincipal | undefined;
      const check = await crypto.checkPassword(
        proof.password,
        async () => {
          const found = await principals.find({ namespace, principalId });
          if (found !== undefined) leaf?.note({ resource: found.principalId });
          const mayLogIn = found?.kind === "user" && !found.disabled;
          user = mayLogIn ? found : undefined;
          return (await failures.isLocked(name)) ? undefined : user?.passwordHash;
        },
        signal,
      );
      if (user === undefined || !check.matches) throw await this.#loginFailed(name, user);
      // Right, but too late: guesses that ran beside this one have locked the name meanwhile.
      if (!(await failures.clear(name))) throw credentialsInvalid();
      const issued = await this.#begin(user, { signal, leaf });
      if (check.rehash !== undefined) await this.#replaceHash(user, check.rehash);
      return issued;
    });
  }

  /** Trades a client secret for tokens. Errors: unauthenticated/CREDENTIALS_INVALID; conflict/LOCK_NOT_AVAILABLE while the principal is
   * being changed. */
  grantClientToken(proof: SecretProof, options: GrantOptions = {}): Promise<IssuedTokens> {
    return this.#watched("client_secret", async () => {
      const { principals, crypto } = this.#options;
      const found = await principals.find(proof);
      if (found !== undefined) options.leaf?.note({ resource: found.principalId });
      const matches = crypto.matchesDigest(
        "client-secret",
        proof.clientSecret,
        found?.secretDigest,
      );
      if (found === undefined || !matches || found.disabled) throw credentialsInvalid();
      return this.#begin(found, options);
    });
  }

  /** Spends a refresh token. Who lost the answer may ask again with the same one for a short time, and gets the same
   * refresh token, as long as that was not used itself.
   *
   * Errors: unauthenticated/REFRESH_REUSED after revoking the family of a token that was spent before;
   * unauthenticated/CREDENTIALS_INVALID for any other that is not live. */
  refresh(refreshToken: string, leaf?: AuditLeaf): Promise<IssuedTokens> {
    return this.#watched("refresh_token", async () => {
      const { crypto, families, refreshTtlMs, refreshGraceMs } = this.#options;
      const spent = crypto.digest("refresh-token", refreshToken);
      const token = crypto.nextRefreshToken(refreshToken);
      const digest = crypto.digest("refresh-token", token);
      const issuance =
        (await families.rotate(spent, { digest, ttlMs: refreshTtlMs }, leaf)) ??
        (await families.repeat(spent, { digest, graceMs: refreshGraceMs }));
      if (issuance !== undefined) leaf?.note(actorOf(issuance.principal));
      if (issuance !== undefined) return this.#issue(issuance, token);
      throw (await this.#punishReuse(spent)) ? refreshReused() : credentialsInvalid();
    });
  }

  /** Ends the family of the caller's token. Doing it twice changes nothing more. */
  async logout(caller: Caller, leaf?: AuditLeaf): Promise<void> {
    await this.#revokeFamily(caller.namespace, caller.familyId, leaf);
  }

  /** Revokes a token, a family, all that a principal holds, or all of a namespace; refresh tokens included, but for one
   * token alone. Works in the caller's namespace, except that `default` may revoke another one whole.
   * Errors: not_found/PRINCIPAL_NOT_FOUND; forbidden/NAMESPACE_FORBIDDEN; conflict/REQUEST_ID_REUSED. */
  async revoke(caller: Caller, target: RevokeTarget, request: RequestKey): Promise<number> {
    const { mutations, events } = this.#options;
    if ("wholeNamespace" in target) assertMayActIn(caller, target.wholeNamespace);
    let added: RevocationRecord | undefined;
    const { value } = await mutations.run(request, async (tx) => {
      added = await addRevocation(tx, caller.namespace, target);
      return { revokeTimeMs: added.revokeTimeMs };
    });
    if (added !== undefined) events.revoked(added);
    await this.#publish();
    return value.revokeTimeMs;
  }

  async #begin(principal: StoredPrincipal, { signal, leaf }: GrantOptions): Promise<IssuedTokens> {
    const { crypto, families, ids, refreshTtlMs } = this.#options;
    const token = principal.kind === "service" ? undefined : crypto.newRefreshToken();
    const { namespace, principalId } = principal;
    leaf?.note(actorOf(principal));
    const issuance = await families.start({
      namespace,
      principalId,
      leaf,
      signal,
      familyId: ids.next("fam"),
      credentialVersion: principal.credentialVersion,
      ...(token === undefined
        ? {}
        : { refresh: { digest: crypto.digest("refresh-token", token), ttlMs: refreshTtlMs } }),
    });
    // Disabled, or its credential replaced, since it was read a moment ago.
    if (issuance === undefined) throw credentialsInvalid();
    return this.#issue(issuance, token);
  }

  async #issue(issuance: Issuance, refreshToken: string | undefined): Promise<IssuedTokens> {
    const { tokens, keys, ids, accessTtlMs } = this.#options;
    const { principal, familyId, issuedAtMs, refreshExpiresAtMs } = issuance;
    const subject: TokenSubject = {
      namespace: principal.namespace,
      principalId: principal.principalId,
      kind: principal.kind,
      scopes: effectiveScopes(principal),
      roles: principal.roles,
      deniedScopes: principal.deniedScopes,
      limitedScopes: principal.limitedScopes,
      tokenId: ids.next("tok"),
      familyId,
      issuedAtMs,
      expiresAtMs: issuedAtMs + accessTtlMs,
    };
    const hasRefresh = refreshToken !== undefined && refreshExpiresAtMs !== undefined;
    return {
      accessToken: await tokens.sign(subject, await keys.signer()),
      accessExpiresAtMs: subject.expiresAtMs,
      refresh: hasRefresh ? { token: refreshToken, expiresAtMs: refreshExpiresAtMs } : undefined,
      principal,
    };
  }

  /** Counts a failed login, of a name that exists or not, and makes the error. */
  async #loginFailed(name: LoginName, user: StoredPrincipal | undefined): Promise<NexusError> {
    const { failures, events } = this.#options;
    if (await failures.add(name)) events.loginLocked(name.namespace, user?.principalId);
    return credentialsInvalid();
  }

  /** Revokes the family of a refresh token that was spent before; false when it never was one. */
  async #punishReuse(digest: Buffer): Promise<boolean> {
    const { transactions, events } = this.#options;
    const record = await transactions.run(async (tx) => {
      const family = await tx.families.findSpent(digest);
      if (family === undefined) return undefined;
      const { namespace, familyId } = family;
      await tx.audit.enter("vault:refresh-reuse", { namespace, resource: familyId });
      return revokeFamily(tx, namespace, familyId);
    });
    if (record === undefined) return false;
    events.familyReused(record.namespace, record.id);
    await this.#publish();
    return true;
  }

  async #revokeFamily(namespace: Namespace, familyId: string, leaf?: AuditLeaf): Promise<void> {
    const { transactions, events } = this.#options;
    const record = await transactions.run((tx) => revokeFamily(tx, namespace, familyId), leaf);
    events.revoked(record);
    await this.#publish();
  }

  /** A better hash is a gift: losing it to a concurrent login or a broken connection must not fail this one. */
  async #replaceHash(user: StoredPrincipal, rehash: string): Promise<void> {
    const { upkeep, events } = this.#options;
    if (user.passwordHash === undefined) return;
    try {
      await upkeep.replacePasswordHash(user, user.passwordHash, rehash);
      events.passwordRehashed(user);
    } catch {
      // The next login tries again.
    }
  }

  /** Makes this replica know the revocation before it answers; the others poll. A failed read is the poll's to mend. */
  async #publish(): Promise<void> {
    await this.#options.revocations.refresh().catch(() => undefined);
  }

  async #watched(method: ProofMethod, work: () => Promise<IssuedTokens>): Promise<IssuedTokens> {
    const { events, crypto } = this.#options;
    try {
      // Before any work: a sealed vault must not spend a password hash to say so.
      if (!crypto.isOpen) throw vaultSealed();
      const issued = await work();
      events.proofAccepted(method, issued.principal);
      return issued;
    } catch (error) {
      events.proofRefused(method, NexusError.from(error).reason);
      throw error;
    }
  }
}

function addRevocation(
  tx: Transaction,
  namespace: Namespace,
  target: RevokeTarget,
): Promise<RevocationRecord> {
  if ("tokenId" in target) {
    return tx.revocations.add({ target: "token", namespace, id: target.tokenId });
  }
  if ("familyId" in target) return revokeFamily(tx, namespace, target.familyId);
  if ("wholeNamespace" in target) return revokeNamespace(tx, target.wholeNamespace);
  return revokePrincipal(tx, { namespace, principalId: target.principalId });
}

/** Whom a proof proved, as an audit entry says it. */
function actorOf({ namespace, principalId, kind }: PrincipalRecord) {
  return { namespace, actor: principalId, actorKind: kind };
}
