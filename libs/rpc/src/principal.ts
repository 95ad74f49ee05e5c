import type { Namespace } from "@nexus/shared";

/** Who a verified token speaks for. */
export interface Principal {
  readonly namespace: Namespace;
  readonly principalId: string;
  readonly kind: "user" | "agent" | "service";
  readonly scopes: readonly string[];
  /** Names of the roles that the scopes came from, for those who ask about policies. */
  readonly roles?: readonly string[];
  /** Refused although a scope covers it. */
  readonly deniedScopes?: readonly string[];
  /** Held on some resources only: enough for a method that checks its resource, and for no other. */
  readonly limitedScopes?: readonly string[];
  /** The token's `jti`. */
  readonly tokenId: string;
  /** The token's `fam`: every token refreshed from one login shares it. */
  readonly familyId: string;
  readonly issuedAtMs: number;
  readonly expiresAtMs: number;
}

/** Turns a bearer token into a principal and tells when it is taken back. */
export interface TokenVerifier {
  /** Errors: unauthenticated when the token is malformed, forged, expired or revoked. */
  verify(token: string): Promise<Principal>;
  /** Calls `fn` once a revocation covers the principal's token; returns what stops listening. */
  onRevoked(principal: Principal, fn: () => void): () => void;
}

/** Gives the token a caller acts with; implementations renew it before it ends. */
export interface TokenSource {
  token(): Promise<string>;
  /** Asked when a call that began then, by `performance.now()`, was refused by what its token holds. True when `token` gives a newer one
   * now. False when it would be no newer, or was renewed a moment ago. Left out by sources whose tokens nobody widens. */
  renewSince?(calledAtMs: number): boolean;
}
