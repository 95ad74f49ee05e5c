export {
  CLOCK_SKEW_MS,
  principalFromClaims,
  TOKEN_ALGORITHM,
  TOKEN_AUDIENCE,
  TOKEN_ISSUER,
  TOKEN_TYPE,
} from "./claims.ts";
export type { FetchedJwks, KeyCache, KeyCacheOptions, KeySource } from "./key-cache.ts";
export { createKeyCache, importJwks, UNKNOWN_KEY_COOLDOWN_MS } from "./key-cache.ts";
export { REVOCATION_BATCH_MAX, SILENCE_MAX_MS } from "./revocation-follower.ts";
export type { RevocationEntry, RevocationSet } from "./revocation-set.ts";
export { createRevocationSet } from "./revocation-set.ts";
export type { ServiceTokenSourceOptions } from "./service-token-source.ts";
export { createServiceTokenSource } from "./service-token-source.ts";
export {
  identityUnavailableError,
  tokenExpiredError,
  tokenInvalidError,
  tokenMissingError,
  tokenRevokedError,
} from "./token-errors.ts";
export type { SignerKey, SigningJwks } from "./token-signer.ts";
export { generateSigningJwks, importSigningJwk, signAccessToken } from "./token-signer.ts";
export type { LocalTokenVerifierOptions } from "./token-verifier.ts";
export { createLocalTokenVerifier, VERIFIED_TOKENS_MAX } from "./token-verifier.ts";
export type { ClosableTokenVerifier, TokenVerifierOptions } from "./vault-token-verifier.ts";
export { createTokenVerifier } from "./vault-token-verifier.ts";
