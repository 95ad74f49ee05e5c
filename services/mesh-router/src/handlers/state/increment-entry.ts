import {
  IncrementEntryRequestSchema,
  type StateIncrement,
  type StateService,
} from "@nexus/proto/mesh";
import type { MethodImplementation } from "@nexus/rpc";
import { toIncrement } from "./state-convert.ts";
import type { StateDeps } from "./state-deps.ts";
import { commitWrite } from "./state-writes.ts";

/** Serves StateService.IncrementEntry. */
export function createIncrementEntry(
  deps: StateDeps,
): MethodImplementation<typeof StateService.method.incrementEntry> {
  return (request, ctx) => {
    const op = toIncrement(request.key, request.increment as StateIncrement);
    return commitWrite(deps, ctx, { schema: IncrementEntryRequestSchema, request, op });
  };
}
