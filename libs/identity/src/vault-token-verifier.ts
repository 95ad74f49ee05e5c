import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Revocation } from "@nexus/proto/vault";
import { AuthService } from "@nexus/proto/vault";
import type { RpcChannel, TokenSource, TokenVerifier } from "@nexus/rpc";
import { createRpcClient } from "@nexus/rpc";
import type { Clock, Logger } from "@nexus/shared";
import { systemClock } from "@nexus/shared";
import { createKeyCache } from "./key-cache.ts";
import type { RevocationBatch } from "./revocation-follower.ts";
import { createRevocationFollower } from "./revocation-follower.ts";
import type { RevocationEntry } from "./revocation-set.ts";
import { createRevocationSet } from "./revocation-set.ts";
import { createLocalTokenVerifier } from "./token-verifier.ts";

/** What createTokenVerifier needs. */
export interface TokenVerifierOptions {
  /** A channel to vault. */
  readonly vault: RpcChannel;
  /** The service's own tokens; they need `vault:revocation:watch`. */
  readonly tokens: TokenSource;
  readonly logger: Logger;
  /** Required `aud`; default `nexus`. */
  readonly audience?: string;
  /** Required `iss`; default `nexus-vault`. */
  readonly issuer?: string;
  readonly clock?: Clock;
}

/** A verifier that follows vault until it is closed. */
export interface ClosableTokenVerifier extends TokenVerifier {
  /** True while a revocation may have been missed: no sign of life from vault for over 15 s, or no keys yet. Known
   * keys keep verifying; a service says so in its readiness. */
  readonly stale: boolean;
  close(): Promise<void>;
}

/** Longest wait at start for the keys and the revocations in force. Then the service goes on: vault may be starting
 * too, and any order of starts must work. */
const START_WAIT_MS = 3000;
const JWKS_TIMEOUT_MS = 5000;

/** What a revocation covers; undefined for a kind that a newer vault knows and this version does not. */
function targetOf({ target, namespace }: Revocation) {
  switch (target.case) {
    case "tokenId":
      return { target: "token", namespace, id: target.value } as const;
    case "familyId":
      return { target: "family", namespace, id: target.value } as const;
    case "principal": {
      const { namespace: own, principalId } = target.value;
      return { target: "principal", namespace: own, id: principalId } as const;
    }
    case "role":
      return { target: "role", namespace, id: target.value } as const;
    case "wholeNamespace":
      return { target: "namespace", namespace, id: namespace } as const;
    default:
      return undefined;
  }
}

function toEntry(revocation: Revocation): RevocationEntry | undefined {
  const covered = targetOf(revocation);
  if (covered === undefined) return undefined;
  return {
    ...covered,
    revokeTimeMs: revocation.revokeTime === undefined ? 0 : ceilMs(revocation.revokeTime),
    expireTimeMs:
      revocation.expireTime === undefined
        ? Number.POSITIVE_INFINITY
        : timestampMs(revocation.expireTime),
  };
}

/** Rounds up: a token of the same millisecond counts as issued before the revocation. */
function ceilMs(time: { readonly seconds: bigint; readonly nanos: number }): number {
  return Number(time.seconds) * 1000 + Math.ceil(time.nanos / 1_000_000);
}

async function* watchVault(
  messages: AsyncIterable<{ revision: bigint; revocations: Revocation[] }>,
): AsyncGenerator<RevocationBatch> {
  for await (const { revision, revocations } of messages) {
    const entries = revocations.map(toEntry).filter((entry) => entry !== undefined);
    yield { revision, entries };
  }
}

/** Waits until done settles, at most START_WAIT_MS, without keeping the process alive for it. */
async function waitAtStart(done: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, START_WAIT_MS);
  });
  await Promise.race([done, limit]);
  clearTimeout(timer);
}

/** Creates the verifier of a service: keys from GetJwks, revocations from WatchRevocations, no call per token.
 *
 * Resolves when keys and revocations are known, or after 3 s without them: then every token is refused with
 * unavailable/IDENTITY_UNAVAILABLE until vault answers. When vault goes away later, known keys keep verifying.
 *
 * Errors of verify: unauthenticated with TOKEN_MISSING, TOKEN_INVALID, TOKEN_EXPIRED or TOKEN_REVOKED.
 * Source: DESIGN section 5; RFC 8725; RFC 9068. */
export async function createTokenVerifier(
  options: TokenVerifierOptions,
): Promise<ClosableTokenVerifier> {
  const { vault, tokens, logger } = options;
  const clock = options.clock ?? systemClock;
  const publicClient = createRpcClient(AuthService, vault, { timeoutMs: JWKS_TIMEOUT_MS });
  const client = createRpcClient(AuthService, vault, { tokens });
  const keys = createKeyCache({ fetch: () => publicClient.getJwks({}), clock, logger });
  const revocations = createRevocationSet();
  const follower = createRevocationFollower({
    watch: (resumeRevision, signal) =>
      watchVault(client.watchRevocations({ resumeRevision }, { signal })),
    revocations,
    clock,
    logger,
  });
  const verifier = createLocalTokenVerifier({
    keys,
    revocations,
    clock,
    ...(options.audience === undefined ? {} : { audience: options.audience }),
    ...(options.issuer === undefined ? {} : { issuer: options.issuer }),
  });
  await waitAtStart(Promise.all([keys.refresh(), follower.caughtUp]));

  return {
    verify: (token) => verifier.verify(token),
    onRevoked: (principal, fn) => verifier.onRevoked(principal, fn),
    get stale() {
      return follower.stale || !keys.loaded;
    },
    close: () => follower.close(),
  };
}
