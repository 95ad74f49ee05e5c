import type { SecretService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import type { VaultHandlerDeps } from "./deps.ts";

type ReleaseSecretLease = MethodImplementation<typeof SecretService.method.releaseSecretLease>;

/** Serves SecretService.ReleaseSecretLease. */
export function createReleaseSecretLease({ secretLeases }: VaultHandlerDeps): ReleaseSecretLease {
  return async (request, ctx) => {
    await secretLeases.release(requirePrincipal(ctx), request.leaseId);
    return {};
  };
}
