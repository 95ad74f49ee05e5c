import type { StoredPrincipal } from "../domain/principal.ts";

/** Columns of a principal with its credentials, in the names of StoredPrincipal. */
export const PRINCIPAL_COLUMNS = `
  p.namespace, p.principal_id AS "principalId", p.kind, p.scopes, p.roles, p.granted_scopes AS "grantedScopes",
  p.limited_scopes AS "limitedScopes", p.denied_scopes AS "deniedScopes", p.disabled,
  p.created_at AS "createdAt", p.password_hash AS "passwordHash",
  p.secret_digest AS "secretDigest", p.credential_version AS "credentialVersion"`;

/** A row of PRINCIPAL_COLUMNS as the driver returns it. */
export interface PrincipalRow
  extends Omit<StoredPrincipal, "createdAtMs" | "passwordHash" | "secretDigest"> {
  readonly createdAt: Date;
  readonly passwordHash: string | null;
  readonly secretDigest: Buffer | null;
}

/** Turns a row into the domain's type. */
export function toStoredPrincipal(row: PrincipalRow): StoredPrincipal {
  const { createdAt, passwordHash, secretDigest, ...rest } = row;
  return {
    ...rest,
    createdAtMs: createdAt.getTime(),
    passwordHash: passwordHash ?? undefined,
    secretDigest: secretDigest ?? undefined,
  };
}
