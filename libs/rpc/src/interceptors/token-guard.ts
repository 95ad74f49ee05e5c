import { NexusError } from "@nexus/shared";
import type { Principal, TokenVerifier } from "../principal.ts";

/** Timers of Node cannot run longer, so a longer wait is taken in steps. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Watches one token on behalf of an open stream. */
export interface TokenGuard {
  /** Stops watching. Idempotent. */
  release(): void;
}

/** Calls `end` once, when the token expires or is revoked. */
export function guardToken(
  principal: Principal,
  verifier: TokenVerifier,
  end: (error: NexusError) => void,
): TokenGuard {
  let timer: NodeJS.Timeout | undefined;
  const stopListening = verifier.onRevoked(principal, () => {
    release();
    end(tokenError("TOKEN_REVOKED", "The token of this stream was revoked."));
  });
  waitForExpiry();
  return { release };

  function waitForExpiry(): void {
    const remainingMs = principal.expiresAtMs - Date.now();
    if (remainingMs > 0) {
      timer = setTimeout(waitForExpiry, Math.min(remainingMs, MAX_TIMER_MS));
      timer.unref();
      return;
    }
    release();
    end(tokenError("TOKEN_EXPIRED", "The token of this stream has ended."));
  }

  function release(): void {
    clearTimeout(timer);
    stopListening();
  }
}

function tokenError(reason: string, message: string): NexusError {
  return new NexusError({ kind: "unauthenticated", reason, message });
}
