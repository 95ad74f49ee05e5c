import { type StateService, TransactRequestSchema } from "@nexus/proto/mesh";
import type { MethodImplementation } from "@nexus/rpc";
import { toOp } from "./state-convert.ts";
import type { StateDeps } from "./state-deps.ts";
import { commitWrites, fromResults } from "./state-writes.ts";

/** Serves StateService.Transact. */
export function createTransact(
  deps: StateDeps,
): MethodImplementation<typeof StateService.method.transact> {
  return async (request, ctx) => {
    const ops = request.writes.map(toOp);
    const { preconditions } = request;
    const asked = { schema: TransactRequestSchema, request, ops, preconditions, atomic: true };
    return { results: fromResults(await commitWrites(deps, ctx, asked), ops) };
  };
}
