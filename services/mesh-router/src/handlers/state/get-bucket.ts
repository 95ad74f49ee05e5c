import type { StateService } from "@nexus/proto/mesh";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { fromBucket } from "./state-convert.ts";
import type { StateDeps } from "./state-deps.ts";

/** Serves StateService.GetBucket. */
export function createGetBucket({
  buckets,
}: StateDeps): MethodImplementation<typeof StateService.method.getBucket> {
  return async ({ bucket }, ctx) => {
    const { namespace } = requirePrincipal(ctx);
    return { bucket: fromBucket(await buckets.get(namespace, bucket)) };
  };
}
