import { type AuthService, RotateSigningKeyRequestSchema } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { DEFAULT_NAMESPACE } from "@nexus/shared";
import { keysOfAllNamespaces } from "../domain/errors.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { requestKey } from "./request-key.ts";

type RotateSigningKey = MethodImplementation<typeof AuthService.method.rotateSigningKey>;

/** Serves AuthService.RotateSigningKey. All namespaces share the keys, so only the namespace that administers the others
 * turns them. */
export function createRotateSigningKey(deps: VaultHandlerDeps): RotateSigningKey {
  const { keys, mutations, events, digestBody } = deps;
  return async (request, ctx) => {
    if (requirePrincipal(ctx).namespace !== DEFAULT_NAMESPACE) throw keysOfAllNamespaces();
    const key = requestKey(ctx, RotateSigningKeyRequestSchema, request, digestBody);
    const { value, replayed } = await mutations.run(key, (tx) => keys.rotate(tx.signingKeys));
    if (!replayed) events.signingKeyRotated(value.currentKid, value.nextKid);
    await keys.reload();
    return { currentKeyId: value.currentKid, nextKeyId: value.nextKid };
  };
}
