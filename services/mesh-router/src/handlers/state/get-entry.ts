import type { StateService } from "@nexus/proto/mesh";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { NexusError } from "@nexus/shared";
import { noBucket, toError } from "../../domain/state/refusals.ts";
import { fromEntry } from "./state-convert.ts";
import type { StateDeps } from "./state-deps.ts";

/** Serves StateService.GetEntry. */
export function createGetEntry({
  queue,
}: StateDeps): MethodImplementation<typeof StateService.method.getEntry> {
  return async ({ bucket, key, includeDeleted }, ctx) => {
    const { namespace } = requirePrincipal(ctx);
    const { rules, entry } = await queue.read({ namespace, bucket, key, includeDeleted });
    if (rules === undefined) throw toError(noBucket(bucket));
    if (entry === undefined) throw noKey(key);
    return { entry: fromEntry(entry, rules) };
  };
}

function noKey(key: string): NexusError {
  return new NexusError({
    kind: "not_found",
    reason: "STATE_KEY_NOT_FOUND",
    message: `The key ${key} has no value.`,
  });
}
