import type { SecretService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { fromLeaseTtl, toSecretLease } from "./convert-secrets.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type RenewSecretLease = MethodImplementation<typeof SecretService.method.renewSecretLease>;

/** Serves SecretService.RenewSecretLease. */
export function createRenewSecretLease({ secretLeases }: VaultHandlerDeps): RenewSecretLease {
  return async (request, ctx) => {
    const renewal = { leaseId: request.leaseId, ttlMs: fromLeaseTtl(request.ttl) };
    const renewed = await secretLeases.renew(requirePrincipal(ctx), renewal);
    return { lease: toSecretLease(renewed.lease), latestVersion: renewed.latestVersion };
  };
}
