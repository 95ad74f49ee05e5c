import type { AuthService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { parseNamespace } from "@nexus/shared";
import { callerOf } from "./caller-of.ts";
import { toTokenSet } from "./convert.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type Login = MethodImplementation<typeof AuthService.method.login>;

/** Serves AuthService.Login. A caller that leaves gives its place in the queue of password checks back. */
export function createLogin({ auth }: VaultHandlerDeps): Login {
  return async (request, ctx) => {
    const { principalId, password } = request;
    const namespace = parseNamespace(request.namespace);
    ctx.audit?.note({ namespace });
    const issued = await auth.login(
      { namespace, principalId, password },
      { signal: ctx.signal, leaf: ctx.audit, address: callerOf(ctx) },
    );
    return { tokens: toTokenSet(issued) };
  };
}
