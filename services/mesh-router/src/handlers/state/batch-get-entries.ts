import type { StateService } from "@nexus/proto/mesh";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { noBucket, toError } from "../../domain/state/refusals.ts";
import { fromEntry } from "./state-convert.ts";
import type { StateDeps } from "./state-deps.ts";

/** Serves StateService.BatchGetEntries. */
export function createBatchGetEntries({
  queue,
}: StateDeps): MethodImplementation<typeof StateService.method.batchGetEntries> {
  return async ({ bucket, keys, includeDeleted }, ctx) => {
    const { namespace } = requirePrincipal(ctx);
    const isGivenUp = (): boolean => ctx.signal.aborted;
    const found = await queue.readMany({ namespace, bucket, keys, includeDeleted }, isGivenUp);
    const { rules, entries, unreadKeys } = found;
    if (rules === undefined) throw toError(noBucket(bucket));
    return {
      entries: entries.map((entry) => fromEntry(entry, rules)),
      unreadKeys: [...unreadKeys],
    };
  };
}
