import type { AuthService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { parseNamespace } from "@nexus/shared";
import { toTokenSet } from "./convert.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type GrantClientToken = MethodImplementation<typeof AuthService.method.grantClientToken>;

/** Serves AuthService.GrantClientToken. */
export function createGrantClientToken({ auth }: VaultHandlerDeps): GrantClientToken {
  return async (request, ctx) => {
    const { principalId, clientSecret } = request;
    const namespace = parseNamespace(request.namespace);
    ctx.audit?.note({ namespace });
    const proof = { namespace, principalId, clientSecret };
    const issued = await auth.grantClientToken(proof, {
      signal: ctx.signal,
      leaf: ctx.audit,
    });
    return { tokens: toTokenSet(issued) };
  };
}
