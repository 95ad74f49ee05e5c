import { ResolveEntryRequestSchema, type StateResolve, type StateService } from "@nexus/proto/mesh";
import type { MethodImplementation } from "@nexus/rpc";
import { toResolve } from "./state-convert.ts";
import type { StateDeps } from "./state-deps.ts";
import { commitWrite } from "./state-writes.ts";

/** Serves StateService.ResolveEntry. */
export function createResolveEntry(
  deps: StateDeps,
): MethodImplementation<typeof StateService.method.resolveEntry> {
  return (request, ctx) => {
    const op = toResolve(request.key, request.resolve as StateResolve);
    return commitWrite(deps, ctx, { schema: ResolveEntryRequestSchema, request, op });
  };
}
