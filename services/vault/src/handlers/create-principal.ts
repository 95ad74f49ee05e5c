import {
  CreatePrincipalRequestSchema,
  PrincipalKind,
  type PrincipalService,
} from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { parseNamespace } from "@nexus/shared";
import { toPrincipal } from "./convert.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { requestKey } from "./request-key.ts";

type CreatePrincipal = MethodImplementation<typeof PrincipalService.method.createPrincipal>;

/** Serves PrincipalService.CreatePrincipal. The contract's rules let only USER and AGENT through. */
export function createCreatePrincipal(deps: VaultHandlerDeps): CreatePrincipal {
  return async (request, ctx) => {
    const key = requestKey(ctx, CreatePrincipalRequestSchema, request, deps.digestBody);
    const { principalId, scopes, roles, password } = request;
    const kind = request.kind === PrincipalKind.AGENT ? "agent" : "user";
    const caller = requirePrincipal(ctx);
    const namespace =
      request.namespace === "" ? caller.namespace : parseNamespace(request.namespace);
    const spec = { namespace, principalId, kind, scopes, roles, password } as const;
    const created = await deps.directory.create(caller, spec, key, ctx.signal);
    return { principal: toPrincipal(created.principal), clientSecret: created.clientSecret };
  };
}
