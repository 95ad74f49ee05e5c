import { NexusError } from "@nexus/shared";
import type { Principal, TokenVerifier } from "../principal.ts";

/** Timers of Node cannot run longer, so a longer wait is taken in steps. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Watches one token on behalf of an open stream. */
export interface TokenGuard {
  /** Stops watching. Idempotent. */
  release(): void;
}

/** Calls `end` at most once, when the token expires or is revoked; at once when it already has been. */
export function guardToken(
  principal: Principal,
  verifier: TokenVerifier,
  end: (error: NexusError) => void,
): TokenGuard {
  let timer: NodeJS.Timeout | undefined;
  const listening: { stop?: () => void } = {};
  let isReleased = false;

  function release(): void {
    isReleased = true;
    clearTimeout(timer);
    listening.stop?.();
  }

  function endBecause(reason: string, message: string): void {
    if (isReleased) return;
    release();
    end(new NexusError({ kind: "unauthenticated", reason, message }));
  }

  function waitForExpiry(): void {
    const remainingMs = principal.expiresAtMs - Date.now();
    if (remainingMs <= 0) return endBecause("TOKEN_EXPIRED", "The token of this stream has ended.");
    timer = setTimeout(waitForExpiry, Math.min(remainingMs, MAX_TIMER_MS)).unref();
  }

  // A revocation that came while the token was verified may be told from inside this call.
  listening.stop = verifier.onRevoked(principal, () =>
    endBecause("TOKEN_REVOKED", "The token of this stream was revoked."),
  );
  if (isReleased) listening.stop();
  else waitForExpiry();
  return { release };
}
