import { type AuthService, RotateSigningKeyRequestSchema } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import type { VaultHandlerDeps } from "./deps.ts";
import { assertNamespaceOfAll } from "./namespace-of-all.ts";
import { requestKey } from "./request-key.ts";

type RotateSigningKey = MethodImplementation<typeof AuthService.method.rotateSigningKey>;

/** Serves AuthService.RotateSigningKey. All namespaces share the keys, so only the namespace that administers the others
 * turns them. */
export function createRotateSigningKey(deps: VaultHandlerDeps): RotateSigningKey {
  const { signingKeys, mutations, events, digestBody } = deps;
  return async (request, ctx) => {
    assertNamespaceOfAll(ctx);
    const key = requestKey(ctx, RotateSigningKeyRequestSchema, request, digestBody);
    const { value, replayed } = await mutations.run(key, (tx) =>
      signingKeys.rotate(tx.signingKeys),
    );
    if (!replayed) events.signingKeyRotated(value.currentKid, value.nextKid);
    await signingKeys.reload();
    return { currentKeyId: value.currentKid, nextKeyId: value.nextKid };
  };
}
