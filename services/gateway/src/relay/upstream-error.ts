import { isSentByServer } from "@nexus/rpc";
import { NexusError } from "@nexus/shared";
import type { Upstream } from "../domain/routes.ts";

/** Kinds that mean a broken connection when no server said them: a killed process resets its streams. */
const BROKEN = new Set(["unavailable", "internal", "cancelled"]);

/** Returns what a caller gets for an error on the way to an owner.
 *
 * What the owner itself said passes as it is, byte for byte. `ended` says that the caller's own call was over first;
 * then the error is its reason and none of the owner's doing. */
export function toCallerError(error: unknown, upstream: Upstream, ended: boolean): unknown {
  if (!(error instanceof NexusError) || ended || isSentByServer(error)) return error;
  if (!BROKEN.has(error.kind)) return error;
  return new NexusError({
    kind: "unavailable",
    reason: "UNAVAILABLE",
    message: `The service behind this call (${upstream}) cannot be reached at the moment.`,
    details: { metadata: { upstream } },
    cause: error,
  });
}
