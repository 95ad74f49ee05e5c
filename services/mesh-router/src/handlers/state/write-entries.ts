import { type StateService, WriteEntriesRequestSchema } from "@nexus/proto/mesh";
import type { MethodImplementation } from "@nexus/rpc";
import { toOp } from "./state-convert.ts";
import type { StateDeps } from "./state-deps.ts";
import { commitWrites, fromResults } from "./state-writes.ts";

/** Serves StateService.WriteEntries. */
export function createWriteEntries(
  deps: StateDeps,
): MethodImplementation<typeof StateService.method.writeEntries> {
  return async (request, ctx) => {
    const ops = request.writes.map(toOp);
    const schema = WriteEntriesRequestSchema;
    return { results: fromResults(await commitWrites(deps, ctx, { schema, request, ops }), ops) };
  };
}
