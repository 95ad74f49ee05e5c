import { type AuthService, RotateSigningKeyRequestSchema } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import type { VaultHandlerDeps } from "./deps.ts";
import { requestKey } from "./request-key.ts";

type RotateSigningKey = MethodImplementation<typeof AuthService.method.rotateSigningKey>;

/** Serves AuthService.RotateSigningKey. */
export function createRotateSigningKey(deps: VaultHandlerDeps): RotateSigningKey {
  const { keys, mutations, events, digestBody } = deps;
  return async (request, ctx) => {
    const key = requestKey(ctx, RotateSigningKeyRequestSchema, request, digestBody);
    const { value, replayed } = await mutations.run(key, (tx) => keys.rotate(tx.signingKeys));
    if (!replayed) events.signingKeyRotated(value.currentKid, value.nextKid);
    await keys.reload();
    return { currentKeyId: value.currentKid, nextKeyId: value.nextKid };
  };
}
