import { LeaseSecretRequestSchema, type SecretService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { fromLeaseTtl, toSecretLease, toSecretVersion } from "./convert-secrets.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { requestKey } from "./request-key.ts";

type LeaseSecret = MethodImplementation<typeof SecretService.method.leaseSecret>;

/** Serves SecretService.LeaseSecret. */
export function createLeaseSecret({ secretLeases, digestBody }: VaultHandlerDeps): LeaseSecret {
  return async (request, ctx) => {
    const key = requestKey(ctx, LeaseSecretRequestSchema, request, digestBody);
    const { path, version, task, ttl } = request;
    const wish = { path, version, task, ttlMs: fromLeaseTtl(ttl) };
    const taken = await secretLeases.take(requirePrincipal(ctx), wish, key);
    return {
      lease: toSecretLease(taken.lease),
      value: taken.value,
      version: toSecretVersion(taken.version),
      latestVersion: taken.secret.latestVersion,
    };
  };
}
