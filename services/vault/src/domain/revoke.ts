import type { Namespace } from "@nexus/shared";
import { principalNotFound } from "./errors.ts";
import type { PrincipalKey, Transaction } from "./ports.ts";
import type { RevocationRecord } from "./revocation.ts";

/** Ends a family: its refresh token and all its access tokens. */
export async function revokeFamily(
  tx: Transaction,
  namespace: Namespace,
  familyId: string,
): Promise<RevocationRecord> {
  await tx.families.revoke(namespace, familyId);
  return tx.revocations.add({ target: "family", namespace, id: familyId });
}

/** Ends every family of a namespace and takes back every token issued in it until now. */
export async function revokeNamespace(
  tx: Transaction,
  namespace: Namespace,
): Promise<RevocationRecord> {
  await tx.families.revokeNamespace(namespace);
  return tx.revocations.add({ target: "namespace", namespace, id: namespace });
}

/** Takes back all that a principal holds, but for the refresh token of one family if it is named. The lock on its row
 * makes concurrent grants wait or be covered. Errors: not_found/PRINCIPAL_NOT_FOUND. */
export async function revokePrincipal(
  tx: Transaction,
  key: PrincipalKey,
  butFamilyId?: string,
): Promise<RevocationRecord> {
  if ((await tx.principals.lock(key)) === undefined) throw principalNotFound();
  await tx.families.revokeAllOf(key, butFamilyId);
  return tx.revocations.add({ target: "principal", namespace: key.namespace, id: key.principalId });
}
