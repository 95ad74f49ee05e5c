import type { Namespace } from "@nexus/shared";

/** What a revocation takes back: one access token, a family, or all tokens issued until now to a principal, to whoever
 * holds a role, or in a whole namespace. */
export type RevocationTarget = "token" | "family" | "principal" | "role" | "namespace";

/** A revocation about to be stored. */
export interface NewRevocation {
  readonly target: RevocationTarget;
  /** Only tokens of this namespace are covered, so a leaked id of another tenant is worth nothing. */
  readonly namespace: Namespace;
  readonly id: string;
}

/** A revocation in force. */
export interface RevocationRecord extends NewRevocation {
  /** Its place in the order of commits. */
  readonly revision: bigint;
  readonly revokeTimeMs: number;
  /** Every covered token has ended by itself after this moment. */
  readonly expireTimeMs: number;
}
