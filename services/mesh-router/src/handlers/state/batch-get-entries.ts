import type { StateService } from "@nexus/proto/mesh";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { fromEntry } from "./state-convert.ts";
import type { StateDeps } from "./state-deps.ts";

/** Serves StateService.BatchGetEntries. */
export function createBatchGetEntries({
  buckets,
  queue,
  reads,
}: StateDeps): MethodImplementation<typeof StateService.method.batchGetEntries> {
  return async ({ bucket: name, keys, includeDeleted }, ctx) => {
    const { namespace } = requirePrincipal(ctx);
    return queue.scan(async () => {
      const bucket = await buckets.get(namespace, name);
      const query = { bucketId: bucket.bucketId, keys, includeDeleted };
      const { entries, unreadKeys } = await reads.readMany(query);
      return {
        entries: entries.map((entry) => fromEntry(entry, bucket)),
        unreadKeys: [...unreadKeys],
      };
    });
  };
}
