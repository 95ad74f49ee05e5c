import { type CaService, RotateCaRequestSchema } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { toAuthority } from "./convert-authority.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { assertNamespaceOfAll } from "./namespace-of-all.ts";
import { requestKey } from "./request-key.ts";

type RotateCa = MethodImplementation<typeof CaService.method.rotateCa>;

/** Serves CaService.RotateCa. */
export function createRotateCa({ authority, mutations, digestBody }: VaultHandlerDeps): RotateCa {
  return async (request, ctx) => {
    assertNamespaceOfAll(ctx);
    const key = requestKey(ctx, RotateCaRequestSchema, request, digestBody);
    const { value, replayed } = await mutations.run(key, async (tx) => {
      const { caId, signsFromMs, notAfterMs } = await authority.rotate(tx.authorities);
      // The answer is kept for retries, and the sealed key is no part of it.
      return { caId, signsFromMs, notAfterMs };
    });
    if (!replayed) authority.announce(value);
    return { authority: toAuthority({ ...value, trustedUntilMs: undefined }) };
  };
}
