import type { Namespace } from "@nexus/shared";

/** What acts: a person, a worker, or a NEXUS service. */
export type PrincipalKind = "user" | "agent" | "service";

/** One identity of a namespace, as anybody with the right to read it may see it. */
export interface PrincipalRecord {
  readonly namespace: Namespace;
  readonly principalId: string;
  readonly kind: PrincipalKind;
  /** Its own scopes. */
  readonly scopes: readonly string[];
  readonly roles: readonly string[];
  /** Scopes that its roles and policies give it. */
  readonly grantedScopes: readonly string[];
  /** Scopes that policies give it on some resources. */
  readonly limitedScopes: readonly string[];
  /** Scopes that policies deny it. */
  readonly deniedScopes: readonly string[];
  readonly disabled: boolean;
  readonly createdAtMs: number;
}

/** An identity with what proves it. Stays inside vault. */
export interface StoredPrincipal extends PrincipalRecord {
  /** PHC string; users only. */
  readonly passwordHash: string | undefined;
  /** Keyed digest of the client secret; agents and services only. */
  readonly secretDigest: Buffer | undefined;
  /** Grows with every new credential. */
  readonly credentialVersion: number;
}

/** Who calls, as the verified token says. */
export interface Caller {
  readonly namespace: Namespace;
  readonly principalId: string;
  readonly scopes: readonly string[];
  readonly roles?: readonly string[];
  readonly deniedScopes?: readonly string[];
  readonly limitedScopes?: readonly string[];
  readonly tokenId: string;
  readonly familyId: string;
}

/** What an access token says; the token format itself belongs to @nexus/identity. */
export interface TokenSubject extends Caller {
  readonly kind: PrincipalKind;
  readonly issuedAtMs: number;
  readonly expiresAtMs: number;
}

/** The tokens of one successful proof of identity. */
export interface IssuedTokens {
  readonly accessToken: string;
  readonly accessExpiresAtMs: number;
  /** Undefined for services, which ask again with their secret. */
  readonly refresh: { readonly token: string; readonly expiresAtMs: number } | undefined;
  readonly principal: PrincipalRecord;
}

/** The principal without its credentials: what may leave the domain. */
export function withoutCredentials(stored: StoredPrincipal): PrincipalRecord {
  const {
    passwordHash: _hash,
    secretDigest: _digest,
    credentialVersion: _version,
    ...rest
  } = stored;
  return rest;
}
