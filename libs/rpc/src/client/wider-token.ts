import { NexusError } from "@nexus/shared";
import type { TokenSource } from "../principal.ts";

/** Refusals by what the token holds, which a newer token of the same principal may hold. */
const TOO_NARROW: ReadonlySet<string> = new Set([
  "SCOPE_MISSING",
  "SECRET_FORBIDDEN",
  "ACCESS_DENIED",
]);

/** Makes a call once more with a new token when it was refused by what its token holds: a role that was widened since is not in a
 * token that was issued before. What is refused has done nothing, so the method need not be idempotent. The source bounds how often it
 * gives out new tokens for that; a source that cannot leaves the refusal as it is. */
export async function withWiderToken<T>(
  tokens: TokenSource | undefined,
  call: () => Promise<T>,
): Promise<T> {
  const calledAtMs = performance.now();
  try {
    return await call();
  } catch (error) {
    const isTooNarrow = error instanceof NexusError && TOO_NARROW.has(error.reason);
    if (!isTooNarrow || tokens?.renewSince?.(calledAtMs) !== true) throw error;
    return call();
  }
}
