import type { Namespace } from "@nexus/shared";
import type { AccessDirectory } from "./access/access-directory.ts";
import { recomputeOne } from "./access/access-directory.ts";
import type { PolicyBook } from "./access/policy-book.ts";
import type { CryptoManager } from "./crypto-manager.ts";
import {
  invalidField,
  principalIsCaller,
  principalNotAgent,
  principalNotFound,
  secretAlreadyReturned,
} from "./errors.ts";
import { assertMayActIn } from "./namespaces.ts";
import type { Page, PageOf } from "./page.ts";
import { assertPassword } from "./password-changes.ts";
import type {
  Answer,
  AuthEvents,
  Mutations,
  PrincipalKey,
  PrincipalReader,
  RequestKey,
} from "./ports.ts";
import type { Caller, PrincipalRecord } from "./principal.ts";
import { withoutCredentials } from "./principal.ts";
import type { RevocationLog } from "./revocation-log.ts";
import { revokePrincipal } from "./revoke.ts";
import { DEFAULT_SCOPES, everyScope, grantableScopes } from "./scope-sets.ts";

/** What a PrincipalDirectory needs. */
export interface PrincipalDirectoryOptions {
  readonly principals: PrincipalReader;
  readonly mutations: Mutations;
  readonly crypto: CryptoManager;
  readonly access: Pick<AccessDirectory, "assertMayAssign">;
  readonly book: PolicyBook;
  readonly revocations: RevocationLog;
  readonly events: AuthEvents;
}

/** A principal as its creator describes it. */
export interface PrincipalSpec {
  readonly namespace: Namespace;
  readonly principalId: string;
  readonly kind: "user" | "agent";
  /** Empty means DEFAULT_SCOPES of the kind, or none beside roles. */
  readonly scopes: readonly string[];
  readonly roles: readonly string[];
  /** A user's first password; empty for an agent. */
  readonly password: string;
}

/** A principal and, for an agent, its secret in clear: the only time anybody sees it. */
export interface CreatedPrincipal {
  readonly principal: PrincipalRecord;
  readonly clientSecret: string;
}

/** The identities of a namespace: who there is, and who may become somebody. Works in the caller's namespace only,
 * but for the first principals of another one. */
export class PrincipalDirectory {
  readonly #options: PrincipalDirectoryOptions;

  constructor(options: PrincipalDirectoryOptions) {
    this.#options = options;
  }

  /** Creates a user or an agent. Errors: exists/PRINCIPAL_EXISTS; forbidden/SCOPE_ESCALATION;
   * forbidden/NAMESPACE_FORBIDDEN; not_found/ROLE_NOT_FOUND; precondition/ACCESS_TOO_LARGE; invalid for a bad password or scope; exists/SECRET_ALREADY_RETURNED when an agent's
   * creation is repeated; exhausted/LOGIN_BUSY when too many hashes wait. */
  async create(
    caller: Caller,
    spec: PrincipalSpec,
    request: RequestKey,
    signal?: AbortSignal,
  ): Promise<CreatedPrincipal> {
    const { mutations, crypto, events, access } = this.#options;
    checkPassword(spec);
    assertMayActIn(caller, spec.namespace);
    const usual = spec.roles.length === 0 ? DEFAULT_SCOPES[spec.kind] : [];
    const wanted = spec.scopes.length === 0 ? usual : spec.scopes;
    const scopes = this.#grantable(caller, wanted);
    // Looked up before the hash is made: a retry must not cost another one.
    const earlier = await mutations.replay<PrincipalRecord>(request);
    if (earlier !== undefined) return replayed(earlier);
    const isUser = spec.kind === "user";
    const clientSecret = isUser ? "" : crypto.newClientSecret();
    const credential = isUser
      ? { passwordHash: await crypto.hashPassword(spec.password, signal) }
      : { secretDigest: crypto.digest("client-secret", clientSecret) };
    const { namespace, principalId, kind } = spec;
    const roles = [...new Set(spec.roles)].sort();
    const answer = await mutations.run(request, async (tx) => {
      await tx.access.lock(namespace, "shared");
      await access.assertMayAssign(tx, { caller, namespace, changed: roles });
      await tx.principals.insert({ namespace, principalId, kind, scopes, roles, ...credential });
      return recomputeOne(tx, { namespace, principalId });
    });
    if (answer.replayed) return replayed(answer);
    events.principalCreated(answer.value);
    return { principal: answer.value, clientSecret };
  }

  /** Errors: not_found/PRINCIPAL_NOT_FOUND. */
  async get(key: PrincipalKey): Promise<PrincipalRecord> {
    const found = await this.#options.principals.find(key);
    if (found === undefined) throw principalNotFound();
    return withoutCredentials(found);
  }

  /** Lists by id. Errors: invalid/PAGE_TOKEN_INVALID. */
  list(namespace: Namespace, page: PageOf): Promise<Page<PrincipalRecord>> {
    return this.#options.principals.list(namespace, page);
  }

  /** Disables a principal and revokes all it holds, in one transaction.
   * Errors: not_found/PRINCIPAL_NOT_FOUND; precondition/PRINCIPAL_IS_CALLER. */
  async disable(
    caller: Caller,
    principalId: string,
    request: RequestKey,
  ): Promise<PrincipalRecord> {
    const { mutations, events, revocations } = this.#options;
    if (principalId === caller.principalId) throw principalIsCaller();
    const key = { namespace: caller.namespace, principalId };
    const { value, replayed: again } = await mutations.run(request, async (tx) => {
      const disabled = await tx.principals.setDisabled(key, true);
      if (disabled === undefined) throw principalNotFound();
      await revokePrincipal(tx, key);
      return disabled;
    });
    if (!again) events.principalDisabled(value);
    // This replica refuses the tokens before it answers; the others poll.
    await revocations.refresh().catch(() => undefined);
    return value;
  }

  /** Enables a principal again; what it held stays revoked. Nobody brings back who is more than itself.
   * Errors: not_found/PRINCIPAL_NOT_FOUND; forbidden/SCOPE_ESCALATION. */
  async enable(caller: Caller, principalId: string, request: RequestKey): Promise<PrincipalRecord> {
    const { mutations, events } = this.#options;
    const key = { namespace: caller.namespace, principalId };
    const { value, replayed: again } = await mutations.run(request, async (tx) => {
      const before = await tx.principals.lock(key);
      if (before === undefined) throw principalNotFound();
      this.#grantable(caller, everyScope(before));
      return (await tx.principals.setDisabled(key, false)) ?? withoutCredentials(before);
    });
    if (!again) events.principalEnabled(value);
    return value;
  }

  /** Replaces an agent's secret. Nobody may take over an agent that holds more than itself.
   * Errors: not_found/PRINCIPAL_NOT_FOUND; precondition/PRINCIPAL_NOT_AGENT; forbidden/SCOPE_ESCALATION;
   * exists/SECRET_ALREADY_RETURNED when repeated. */
  async rotateSecret(caller: Caller, principalId: string, request: RequestKey): Promise<string> {
    const { mutations, crypto, events } = this.#options;
    const key = { namespace: caller.namespace, principalId };
    const clientSecret = crypto.newClientSecret();
    const { replayed: again } = await mutations.run(request, async (tx) => {
      const agent = await tx.principals.lock(key);
      if (agent === undefined) throw principalNotFound();
      if (agent.kind !== "agent") throw principalNotAgent();
      this.#grantable(caller, everyScope(agent));
      await tx.principals.replaceSecret(key, crypto.digest("client-secret", clientSecret));
      return {};
    });
    if (again) throw secretAlreadyReturned();
    events.secretRotated(key);
    return clientSecret;
  }

  #grantable(caller: Caller, scopes: readonly string[]): readonly string[] {
    return grantableScopes(caller, scopes, this.#options.book.deniedActions(caller));
  }
}

function replayed(answer: Answer<PrincipalRecord>): CreatedPrincipal {
  if (answer.value.kind === "agent") throw secretAlreadyReturned();
  return { principal: answer.value, clientSecret: "" };
}

function checkPassword({ kind, password }: PrincipalSpec): void {
  if (kind === "user") assertPassword("password", password);
  else if (password !== "") throw invalidField("password", "must be empty for an agent");
}
