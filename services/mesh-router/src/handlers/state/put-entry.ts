import { PutEntryRequestSchema, type StatePut, type StateService } from "@nexus/proto/mesh";
import type { MethodImplementation } from "@nexus/rpc";
import { toPut } from "./state-convert.ts";
import type { StateDeps } from "./state-deps.ts";
import { commitWrite } from "./state-writes.ts";

/** Serves StateService.PutEntry. */
export function createPutEntry(
  deps: StateDeps,
): MethodImplementation<typeof StateService.method.putEntry> {
  return (request, ctx) => {
    const op = toPut(request.key, request.put as StatePut);
    return commitWrite(deps, ctx, { schema: PutEntryRequestSchema, request, op });
  };
}
