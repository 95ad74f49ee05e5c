import { toBinary } from "@bufbuild/protobuf";
import { CreateBucketRequestSchema, type StateService } from "@nexus/proto/mesh";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { fromBucket, toPolicy, toQuota, toTtl } from "./state-convert.ts";
import type { StateDeps } from "./state-deps.ts";
import { callKey, hashOf } from "./state-writes.ts";

/** Serves StateService.CreateBucket. */
export function createCreateBucket({
  buckets,
}: StateDeps): MethodImplementation<typeof StateService.method.createBucket> {
  return async (request, ctx) => {
    const principal = requirePrincipal(ctx);
    const { namespace } = principal;
    const { bucket: name, policy, quota, defaultTtl, requestId } = request;
    const bucket = await buckets.create({
      namespace,
      name,
      policy: toPolicy(policy),
      quota: toQuota(quota),
      defaultTtlMs: toTtl(defaultTtl),
      createdBy: principal.principalId,
      leaf: ctx.audit,
      request: {
        key: callKey(principal, requestId),
        creationKey: callKey(principal, `${namespace}/${name}/${requestId}`),
        bodyHash: hashOf(toBinary(CreateBucketRequestSchema, request)),
      },
    });
    return { bucket: fromBucket(bucket) };
  };
}
