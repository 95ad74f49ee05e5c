import type { StateService } from "@nexus/proto/mesh";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { fromEntry } from "./state-convert.ts";
import type { StateDeps } from "./state-deps.ts";

const PAGE_SIZE_DEFAULT = 100;

/** Serves StateService.ListEntries. */
export function createListEntries({
  buckets,
  queue,
  reads,
}: StateDeps): MethodImplementation<typeof StateService.method.listEntries> {
  return async ({ bucket: name, prefix, onlyConflicts, includeDeleted, page }, ctx) => {
    const { namespace } = requirePrincipal(ctx);
    return queue.scan(async () => {
      const bucket = await buckets.get(namespace, name);
      const { entries, nextPageToken } = await reads.list({
        bucketId: bucket.bucketId,
        prefix,
        onlyConflicts,
        includeDeleted,
        limit: page === undefined || page.pageSize === 0 ? PAGE_SIZE_DEFAULT : page.pageSize,
        pageToken: page?.pageToken ?? "",
      });
      return { entries: entries.map((entry) => fromEntry(entry, bucket)), page: { nextPageToken } };
    });
  };
}
