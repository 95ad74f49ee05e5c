import type { StateService } from "@nexus/proto/mesh";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import type { StateDeps } from "./state-deps.ts";

/** Serves StateService.DeleteBucket. */
export function createDeleteBucket({
  buckets,
}: StateDeps): MethodImplementation<typeof StateService.method.deleteBucket> {
  return async ({ bucket }, ctx) => {
    const { namespace } = requirePrincipal(ctx);
    return { deleted: await buckets.delete(namespace, bucket, ctx.audit) };
  };
}
