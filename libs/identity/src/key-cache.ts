import type { Clock, Logger } from "@nexus/shared";
import type { CryptoKey, JWK } from "jose";
import { importJWK } from "jose";
import { TOKEN_ALGORITHM } from "./claims.ts";
import { identityUnavailableError } from "./token-errors.ts";

/** Where the verifier finds the key that a token names. */
export interface KeySource {
  /** The public key with this id, or undefined when there is none. May ask vault for it.
   * Errors: unavailable/IDENTITY_UNAVAILABLE when no key set was ever had. */
  find(kid: string): Promise<CryptoKey | undefined>;
  /** Grows whenever a key was withdrawn, so that tokens verified with it are checked anew. */
  readonly epoch: number;
}

/** A key set as vault's GetJwks answers it. */
export interface FetchedJwks {
  readonly jwksJson: string;
  readonly maxAgeSeconds: number;
}

/** What createKeyCache needs. */
export interface KeyCacheOptions {
  readonly fetch: () => Promise<FetchedJwks>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A KeySource over vault's published keys. */
export interface KeyCache extends KeySource {
  /** Fetches the key set now, or joins the fetch that runs; false when vault did not answer. */
  refresh(): Promise<boolean>;
  /** True once a key set was fetched. */
  readonly loaded: boolean;
}

/** An unknown key id makes the cache ask vault again, but no more often than this while the set is within its max
 * age: forged ids are free to make. */
export const UNKNOWN_KEY_COOLDOWN_MS = 5000;
/** Pause after a fetch that failed. */
export const FETCH_RETRY_MS = 1000;
/** Most keys taken from one set; vault publishes three. */
const KEYS_MAX = 32;

/** Imports the Ed25519 signature keys of a JWK set and skips whatever else it holds. */
export async function importJwks(jwksJson: string): Promise<Map<string, CryptoKey>> {
  const { keys } = JSON.parse(jwksJson) as { keys: readonly JWK[] };
  const imported = new Map<string, CryptoKey>();
  for (const jwk of keys.slice(0, KEYS_MAX)) {
    const { kty, crv, x, kid } = jwk;
    if (kty !== "OKP" || crv !== "Ed25519" || x === undefined || kid === undefined) continue;
    imported.set(kid, (await importJWK({ kty, crv, x }, TOKEN_ALGORITHM)) as CryptoKey);
  }
  return imported;
}

/** Creates the cache of vault's public keys.
 *
 * A known key is answered from memory, also while vault is away; a set older than its max age is renewed in the
 * background. An unknown key id waits for one fetch, shared by all callers: at once when the set is past its max age,
 * else at most every 5 s. */
export function createKeyCache(options: KeyCacheOptions): KeyCache {
  const { fetch, clock, logger } = options;
  let keys = new Map<string, CryptoKey>();
  let loaded = false;
  let epoch = 0;
  let staleAtMs = Number.NEGATIVE_INFINITY;
  let unknownAtMs = Number.NEGATIVE_INFINITY;
  let retryAtMs = Number.NEGATIVE_INFINITY;
  let running: Promise<boolean> | undefined;

  async function load(): Promise<boolean> {
    const startedMs = clock.nowMs();
    try {
      const { jwksJson, maxAgeSeconds } = await fetch();
      const fresh = await importJwks(jwksJson);
      if ([...keys.keys()].some((kid) => !fresh.has(kid))) epoch++;
      keys = fresh;
      loaded = true;
      staleAtMs = startedMs + maxAgeSeconds * 1000;
      unknownAtMs = startedMs + UNKNOWN_KEY_COOLDOWN_MS;
      return true;
    } catch (error) {
      retryAtMs = clock.nowMs() + FETCH_RETRY_MS;
      logger.warn({ err: error }, "the key set could not be fetched");
      return false;
    }
  }

  function refresh(): Promise<boolean> {
    running ??= load().finally(() => {
      running = undefined;
    });
    return running;
  }

  function isStale(): boolean {
    const nowMs = clock.nowMs();
    return nowMs >= staleAtMs && nowMs >= retryAtMs;
  }

  function mayAskForUnknown(): boolean {
    const nowMs = clock.nowMs();
    return running !== undefined || isStale() || (nowMs >= unknownAtMs && nowMs >= retryAtMs);
  }

  return {
    async find(kid) {
      const known = keys.get(kid);
      if (known !== undefined) {
        if (isStale()) void refresh();
        return known;
      }
      if (mayAskForUnknown()) await refresh();
      if (!loaded) throw identityUnavailableError();
      return keys.get(kid);
    },
    refresh,
    get epoch() {
      return epoch;
    },
    get loaded() {
      return loaded;
    },
  };
}
