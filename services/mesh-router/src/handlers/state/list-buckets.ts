import type { StateService } from "@nexus/proto/mesh";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { fromBucket } from "./state-convert.ts";
import type { StateDeps } from "./state-deps.ts";

const PAGE_SIZE_DEFAULT = 100;

/** Serves StateService.ListBuckets. */
export function createListBuckets({
  buckets,
}: StateDeps): MethodImplementation<typeof StateService.method.listBuckets> {
  return async ({ page }, ctx) => {
    const { namespace } = requirePrincipal(ctx);
    const found = await buckets.list({
      namespace,
      pageSize: page === undefined || page.pageSize === 0 ? PAGE_SIZE_DEFAULT : page.pageSize,
      pageToken: page?.pageToken ?? "",
    });
    const { nextPageToken } = found;
    return { buckets: found.buckets.map(fromBucket), page: { nextPageToken } };
  };
}
