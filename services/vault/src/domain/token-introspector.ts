import type { CryptoManager } from "./crypto-manager.ts";
import type { PrincipalRecord, TokenSubject } from "./principal.ts";
import type { RevocationLog } from "./revocation-log.ts";

/** Reads access tokens as every service does. */
export interface AccessTokenReader {
  /** Undefined for a token that no service would accept, whatever the cause.
   * Errors: unavailable/IDENTITY_UNAVAILABLE while there are no keys to tell. */
  tryRead(token: string): Promise<TokenSubject | undefined>;
}

/** A live refresh token. */
export interface LiveRefreshToken {
  readonly principal: PrincipalRecord;
  readonly familyId: string;
  readonly expiresAtMs: number;
}

/** Finds live refresh tokens. */
export interface RefreshTokenReader {
  /** Undefined when it is not the live token of a live family of an enabled principal. */
  findLive(digest: Buffer): Promise<LiveRefreshToken | undefined>;
}

/** What is told of a token that is good now. */
export type TokenFacts =
  | { readonly use: "access"; readonly subject: TokenSubject }
  | ({ readonly use: "refresh" } & LiveRefreshToken);

/** What a TokenIntrospector needs. */
export interface TokenIntrospectorOptions {
  readonly accessTokens: AccessTokenReader;
  readonly refreshTokens: RefreshTokenReader;
  readonly crypto: Pick<CryptoManager, "digest" | "isRefreshToken">;
  readonly revocations: RevocationLog;
}

/** Answers whether a token is good now, for those that cannot verify it themselves (RFC 7662). */
export class TokenIntrospector {
  readonly #options: TokenIntrospectorOptions;

  constructor(options: TokenIntrospectorOptions) {
    this.#options = options;
  }

  /** What a token of the caller's namespace says; undefined for every other, be it ended, revoked, forged, unknown or
   * somebody else's: the answer tells none from another. Asks the database, so it is ahead of every service.
   * Errors: precondition/VAULT_SEALED for a refresh token. */
  async introspect(
    caller: { readonly namespace: string },
    token: string,
  ): Promise<TokenFacts | undefined> {
    const { accessTokens, refreshTokens, crypto, revocations } = this.#options;
    if (crypto.isRefreshToken(token)) {
      const found = await refreshTokens.findLive(crypto.digest("refresh-token", token));
      return found?.principal.namespace === caller.namespace
        ? { use: "refresh", ...found }
        : undefined;
    }
    await revocations.refresh();
    const subject = await accessTokens.tryRead(token);
    return subject?.namespace === caller.namespace ? { use: "access", subject } : undefined;
  }
}
