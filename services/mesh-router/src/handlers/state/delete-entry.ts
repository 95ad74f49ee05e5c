import { DeleteEntryRequestSchema, type StateService } from "@nexus/proto/mesh";
import type { MethodImplementation } from "@nexus/rpc";
import { toDelete } from "./state-convert.ts";
import type { StateDeps } from "./state-deps.ts";
import { commitWrite } from "./state-writes.ts";

/** Serves StateService.DeleteEntry. */
export function createDeleteEntry(
  deps: StateDeps,
): MethodImplementation<typeof StateService.method.deleteEntry> {
  return (request, ctx) => {
    const op = toDelete(request.key, request.delete);
    return commitWrite(deps, ctx, { schema: DeleteEntryRequestSchema, request, op });
  };
}
