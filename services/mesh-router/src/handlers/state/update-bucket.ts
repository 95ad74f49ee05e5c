import type { StateService, UpdateBucketRequest } from "@nexus/proto/mesh";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { NexusError } from "@nexus/shared";
import { fromBucket, toQuota, toTtl } from "./state-convert.ts";
import type { StateDeps } from "./state-deps.ts";

/** Serves StateService.UpdateBucket. */
export function createUpdateBucket({
  buckets,
}: StateDeps): MethodImplementation<typeof StateService.method.updateBucket> {
  return async (request, ctx) => {
    const { namespace } = requirePrincipal(ctx);
    const { bucket: name, quota } = request;
    const bucket = await buckets.update(namespace, name, {
      quota: quota === undefined ? undefined : toQuota(quota),
      defaultTtlMs: toDefaultTtl(request),
      leaf: ctx.audit,
    });
    return { bucket: fromBucket(bucket) };
  };
}

/** Errors: invalid/REQUEST_INVALID for a new default and none. */
function toDefaultTtl({
  defaultTtl,
  clearDefaultTtl,
}: Pick<UpdateBucketRequest, "defaultTtl" | "clearDefaultTtl">): number | null | undefined {
  if (defaultTtl === undefined) return clearDefaultTtl ? null : undefined;
  if (!clearDefaultTtl) return toTtl(defaultTtl);
  const description = "must not be set together with default_ttl";
  throw new NexusError({
    kind: "invalid",
    reason: "REQUEST_INVALID",
    message: `clear_default_ttl: ${description}.`,
    details: { fieldViolations: [{ field: "clear_default_ttl", description }] },
  });
}
