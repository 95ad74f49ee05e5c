import { EnablePrincipalRequestSchema, type PrincipalService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { toPrincipal } from "./convert.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { requestKey } from "./request-key.ts";

type EnablePrincipal = MethodImplementation<typeof PrincipalService.method.enablePrincipal>;

/** Serves PrincipalService.EnablePrincipal. */
export function createEnablePrincipal(deps: VaultHandlerDeps): EnablePrincipal {
  return async (request, ctx) => {
    const key = requestKey(ctx, EnablePrincipalRequestSchema, request, deps.digestBody);
    const caller = requirePrincipal(ctx);
    const principal = await deps.directory.enable(caller, request.principalId, key);
    return { principal: toPrincipal(principal) };
  };
}
