import { createLocalTokenVerifier, type RevocationSet } from "@nexus/identity";
import type { Pool } from "@nexus/postgres";
import type { Principal, TokenVerifier } from "@nexus/rpc";
import type { ServiceFrame } from "@nexus/runtime";
import { NexusError } from "@nexus/shared";
import type { VaultConfig } from "../config.ts";
import { AccessDirectory } from "../domain/access/access-directory.ts";
import { PolicyBook } from "../domain/access/policy-book.ts";
import { AuthManager } from "../domain/auth-manager.ts";
import type { CryptoManager } from "../domain/crypto-manager.ts";
import { PasswordChanges } from "../domain/password-changes.ts";
import type { AuthEvents, Mutations, TokenFormat, Transactions } from "../domain/ports.ts";
import { PrincipalDirectory } from "../domain/principal-directory.ts";
import { RevocationLog } from "../domain/revocation-log.ts";
import { SigningKeyRing } from "../domain/signing-key-ring.ts";
import { TokenIntrospector } from "../domain/token-introspector.ts";
import { createAccessReader } from "../store/access-store.ts";
import { createFamilyStore } from "../store/family-store.ts";
import { createLoginFailureStore, type LockoutPolicy } from "../store/login-failure-store.ts";
import { createPrincipalStore } from "../store/principal-store.ts";
import { createRevocationReader } from "../store/revocation-store.ts";
import { createSigningKeyReader } from "../store/signing-key-store.ts";

/** What identity is made from. */
interface IdentityInit {
  readonly pool: Pool;
  /** The local verifier's revocations, which know one before any watcher does. */
  readonly verified: RevocationSet;
  readonly shared: {
    readonly transactions: Transactions;
    readonly mutations: Mutations;
    readonly crypto: CryptoManager;
    readonly events: AuthEvents;
    readonly ids: ServiceFrame["ids"];
    readonly tokens: TokenFormat;
  };
}

/** Creates what says who is who: principals, signing keys, tokens, revocations. */
export function createIdentity(frame: ServiceFrame, config: VaultConfig, init: IdentityInit) {
  const { pool, verified, shared } = init;
  const principals = createPrincipalStore(pool);
  const families = createFamilyStore(pool);
  frame.defer("principal lookups", () => principals.close());
  frame.defer("token grants", () => families.close());
  const revocations = new RevocationLog(createRevocationReader(pool), (records) =>
    verified.add(records),
  );
  const signingKeys = new SigningKeyRing({
    ...shared,
    keys: createSigningKeyReader(pool),
    clock: frame.clock,
    policy: { rotateAfterMs: config.keyRotationAgeMs, overlapMs: config.keyOverlapMs },
    accessTtlMs: config.accessTokenTtlMs,
    jwksMaxAgeMs: config.jwksMaxAgeMs,
  });
  const failures = createLoginFailureStore(pool, lockoutOf(config));
  const auth = new AuthManager({
    ...shared,
    principals,
    upkeep: principals,
    families,
    failures,
    keys: signingKeys,
    revocations,
    accessTtlMs: config.accessTokenTtlMs,
    refreshTtlMs: config.refreshTokenTtlMs,
    refreshGraceMs: config.refreshGraceMs,
  });
  const verifier = createLocalTokenVerifier({
    keys: signingKeys,
    revocations: verified,
    clock: frame.clock,
  });
  const introspector = new TokenIntrospector({
    accessTokens: { tryRead: (token) => tryVerify(verifier, token) },
    refreshTokens: families,
    crypto: shared.crypto,
    revocations,
  });
  const access = createAccessReader(pool);
  const book = new PolicyBook(access);
  const accessDirectory = new AccessDirectory({ ...shared, access, principals, book, revocations });
  const administered = { ...shared, principals, book, revocations };
  const directory = new PrincipalDirectory({ ...administered, access: accessDirectory });
  const passwordChanges = new PasswordChanges({ ...administered, failures });
  return {
    principals,
    passwordChanges,
    revocations,
    signingKeys,
    verifier,
    introspector,
    auth,
    directory,
    accessDirectory,
    book,
  };
}

function lockoutOf(config: VaultConfig): LockoutPolicy {
  return {
    failures: config.lockoutFailures,
    nameFailures: config.lockoutNameFailures,
    lockMs: config.lockoutMs,
    lockMaxMs: config.lockoutMaxMs,
  };
}

async function tryVerify(verifier: TokenVerifier, token: string): Promise<Principal | undefined> {
  try {
    return await verifier.verify(token);
  } catch (error) {
    if (NexusError.is(error, "unauthenticated")) return undefined;
    throw error;
  }
}
