import type { MessageInitShape } from "@bufbuild/protobuf";
import type { JobService, PauseJobResponseSchema } from "@nexus/proto/orchestrator";
import type { MethodImplementation } from "@nexus/rpc";
import { atOwner } from "./at-owner.ts";
import { fromJob } from "./convert.ts";
import type { HandlerDeps } from "./deps.ts";
import { toJobOrder } from "./job-order.ts";

/** Serves PauseJob. */
export function createPauseJob(
  deps: HandlerDeps,
): MethodImplementation<typeof JobService.method.pauseJob> {
  return async (request, ctx) => {
    const order = toJobOrder(request, ctx);
    return atOwner<MessageInitShape<typeof PauseJobResponseSchema>>(deps, ctx, {
      id: request.jobId,
      local: async () => ({ job: fromJob(await deps.engine.pauser.pause(order)) }),
      remote: (peer, options) => peer.pauseJob(request, options),
    });
  };
}
