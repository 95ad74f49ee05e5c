import { hash } from "node:crypto";
import type { Principal, TokenVerifier } from "@nexus/rpc";
import type { Clock } from "@nexus/shared";
import { createLruCache, NexusError, systemClock } from "@nexus/shared";
import { errors, jwtVerify } from "jose";
import {
  CLOCK_SKEW_MS,
  principalFromClaims,
  TOKEN_ALGORITHM,
  TOKEN_AUDIENCE,
  TOKEN_ISSUER,
  TOKEN_TYPE,
} from "./claims.ts";
import type { KeySource } from "./key-cache.ts";
import type { RevocationSet } from "./revocation-set.ts";
import {
  tokenExpiredError,
  tokenInvalidError,
  tokenMissingError,
  tokenRevokedError,
} from "./token-errors.ts";

/** What createLocalTokenVerifier needs. */
export interface LocalTokenVerifierOptions {
  readonly keys: KeySource;
  readonly revocations: RevocationSet;
  /** Required `aud`; default `nexus`. */
  readonly audience?: string;
  /** Required `iss`; default `nexus-vault`. */
  readonly issuer?: string;
  readonly clock?: Clock;
}

/** Verified tokens remembered; about 1 KiB each. */
export const VERIFIED_TOKENS_MAX = 10_000;
/** Longest token looked at: ours are below 4 KiB even with 64 scopes. */
const TOKEN_LENGTH_MAX = 8192;

type CheckedOptions = Required<LocalTokenVerifierOptions>;

/** Checks signature and claims with nothing remembered. Only compact JWS; the key comes from `kid` alone, never
 * from `jwk`, `jku` or `x5u` in the header (RFC 8725 section 3.10). */
async function checkToken(token: string, options: CheckedOptions): Promise<Principal> {
  try {
    const { payload } = await jwtVerify(
      token,
      async ({ kid }) => {
        const key = kid === undefined ? undefined : await options.keys.find(kid);
        if (key === undefined) throw tokenInvalidError();
        return key;
      },
      {
        algorithms: [TOKEN_ALGORITHM],
        typ: TOKEN_TYPE,
        issuer: options.issuer,
        audience: options.audience,
        requiredClaims: ["exp", "iat", "sub", "jti"],
        clockTolerance: CLOCK_SKEW_MS / 1000,
        currentDate: new Date(options.clock.nowMs()),
      },
    );
    return principalFromClaims(payload);
  } catch (error) {
    if (error instanceof NexusError && error.kind !== "invalid") throw error;
    if (error instanceof errors.JWTExpired) throw tokenExpiredError(error);
    throw tokenInvalidError(error);
  }
}

/** Creates a verifier over a given key source and revocation set, with a memory of verified tokens.
 *
 * The memory is keyed by SHA-256 of the whole token, so no two tokens can share an entry; every hit still checks
 * end and revocation, and all of it goes when a key is withdrawn.
 *
 * Errors: unauthenticated with TOKEN_MISSING, TOKEN_INVALID, TOKEN_EXPIRED or TOKEN_REVOKED;
 * unavailable/IDENTITY_UNAVAILABLE when no key set was ever had.
 * Cost: a hash and a map lookup for a remembered token, else one Ed25519 verification. */
export function createLocalTokenVerifier(given: LocalTokenVerifierOptions): TokenVerifier {
  const options: CheckedOptions = {
    audience: TOKEN_AUDIENCE,
    issuer: TOKEN_ISSUER,
    clock: systemClock,
    ...given,
  };
  const { keys, revocations, clock } = options;
  const verified = createLruCache<string, Principal>({ max: VERIFIED_TOKENS_MAX, clock });
  let epoch = keys.epoch;

  function remembered(key: string): Principal | undefined {
    if (epoch !== keys.epoch) {
      verified.clear();
      epoch = keys.epoch;
    }
    return verified.get(key);
  }

  async function check(token: string, key: string): Promise<Principal> {
    const startEpoch = keys.epoch;
    const principal = await checkToken(token, options);
    if (startEpoch !== keys.epoch) return principal;
    const restMs = principal.expiresAtMs + CLOCK_SKEW_MS - clock.nowMs();
    if (restMs > 0) verified.set(key, principal, restMs);
    return principal;
  }

  return {
    async verify(token) {
      if (token === "") throw tokenMissingError();
      if (token.length > TOKEN_LENGTH_MAX) throw tokenInvalidError();
      const key = hash("sha256", token, "base64");
      const principal = remembered(key) ?? (await check(token, key));
      if (clock.nowMs() >= principal.expiresAtMs + CLOCK_SKEW_MS) throw tokenExpiredError();
      if (revocations.covers(principal)) throw tokenRevokedError();
      return principal;
    },
    onRevoked: (principal, fn) => revocations.onRevoked(principal, fn),
  };
}
