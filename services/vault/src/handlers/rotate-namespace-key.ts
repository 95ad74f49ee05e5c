import { type KeyService, RotateNamespaceKeyRequestSchema } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { SYSTEM_NAMESPACE } from "@nexus/shared";
import type { VaultHandlerDeps } from "./deps.ts";
import { assertNamespaceOfAll } from "./namespace-of-all.ts";
import { requestKey } from "./request-key.ts";

type RotateNamespaceKey = MethodImplementation<typeof KeyService.method.rotateNamespaceKey>;

/** Serves KeyService.RotateNamespaceKey. */
export function createRotateNamespaceKey(deps: VaultHandlerDeps): RotateNamespaceKey {
  const { keyStore, digestBody } = deps;
  return async (request, ctx) => {
    if (request.system) assertNamespaceOfAll(ctx);
    const key = requestKey(ctx, RotateNamespaceKeyRequestSchema, request, digestBody);
    const namespace = request.system ? SYSTEM_NAMESPACE : requirePrincipal(ctx).namespace;
    return { version: await keyStore.rotateNamespaceKey(namespace, key) };
  };
}
