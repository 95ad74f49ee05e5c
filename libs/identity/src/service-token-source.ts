import { AuthService } from "@nexus/proto/vault";
import type { RpcChannel, TokenSource } from "@nexus/rpc";
import { createRpcClient } from "@nexus/rpc";
import type { Clock } from "@nexus/shared";
import { SYSTEM_NAMESPACE, systemClock } from "@nexus/shared";
import { decodeJwt } from "jose";

/** What createServiceTokenSource needs. */
export interface ServiceTokenSourceOptions {
  /** A channel to vault. */
  readonly vault: RpcChannel;
  readonly principalId: string;
  readonly clientSecret: string;
  /** Default `nexus-system`, where the services' principals live. */
  readonly namespace?: string;
  readonly clock?: Clock;
}

interface HeldToken {
  readonly text: string;
  readonly renewAtMs: number;
  /** Until then the token is handed out, even when renewing it fails. */
  readonly usableUntilMs: number;
}

/** A token is renewed after this share of its life, in the background of the calls that use it. */
const RENEW_AT_SHARE = 0.8;
/** A token is not handed out in the last part of its life: it would end on its way. */
const USABLE_SHARE = 0.95;
/** Pause between two tries to renew a token that still lives. */
const RENEW_RETRY_MS = 1000;
const GRANT_TIMEOUT_MS = 5000;

/** Reads the life of a token from its own claims, so that a local clock that is off does no harm: only the
 * difference of vault's two times is used. No verification is needed, the token came from vault itself. */
function hold(text: string, receivedAtMs: number): HeldToken {
  const { iat = 0, exp = 0 } = decodeJwt(text);
  const lifeMs = Math.max(0, (exp - iat) * 1000);
  return {
    text,
    renewAtMs: receivedAtMs + lifeMs * RENEW_AT_SHARE,
    usableUntilMs: receivedAtMs + lifeMs * USABLE_SHARE,
  };
}

/** Creates the tokens with which a service (or an agent) acts for itself, from its client secret.
 *
 * One grant serves all concurrent callers. While a token lives its renewal runs in the background, at 80 % of its
 * life and then each second until it succeeds; only without a usable token do callers wait and see the error.
 *
 * Errors: unauthenticated/CREDENTIALS_INVALID when vault refuses the secret; unavailable when it is away. */
export function createServiceTokenSource(options: ServiceTokenSourceOptions): TokenSource {
  const clock = options.clock ?? systemClock;
  const client = createRpcClient(AuthService, options.vault, { timeoutMs: GRANT_TIMEOUT_MS });
  let held: HeldToken | undefined;
  let granting: Promise<string> | undefined;
  let nextTryAtMs = Number.NEGATIVE_INFINITY;

  async function grant(): Promise<string> {
    nextTryAtMs = clock.nowMs() + RENEW_RETRY_MS;
    const { tokens } = await client.grantClientToken({
      namespace: options.namespace ?? SYSTEM_NAMESPACE,
      principalId: options.principalId,
      clientSecret: options.clientSecret,
    });
    const text = tokens?.accessToken ?? "";
    held = hold(text, clock.nowMs());
    return text;
  }

  function shared(): Promise<string> {
    granting ??= grant().finally(() => {
      granting = undefined;
    });
    return granting;
  }

  return {
    async token() {
      const nowMs = clock.nowMs();
      if (held === undefined || nowMs >= held.usableUntilMs) return shared();
      if (nowMs >= held.renewAtMs && nowMs >= nextTryAtMs) {
        // The held token still serves; a failed renewal is tried again by a later call.
        shared().catch(() => undefined);
      }
      return held.text;
    },
  };
}
