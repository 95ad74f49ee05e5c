import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CancelJobResponseSchema, JobService } from "@nexus/proto/orchestrator";
import type { MethodImplementation } from "@nexus/rpc";
import { atOwner } from "./at-owner.ts";
import { fromJob } from "./convert.ts";
import type { HandlerDeps } from "./deps.ts";
import { toJobOrder } from "./job-order.ts";

/** Serves CancelJob. */
export function createCancelJob(
  deps: HandlerDeps,
): MethodImplementation<typeof JobService.method.cancelJob> {
  return async (request, ctx) => {
    const { jobId, reason } = request;
    const order = { ...toJobOrder(request, ctx, { reason }), reason };
    return atOwner<MessageInitShape<typeof CancelJobResponseSchema>>(deps, ctx, {
      id: jobId,
      local: async () => {
        const { job, dispositions } = await deps.engine.cancel(order);
        return { job: fromJob(job), ...dispositions };
      },
      remote: (peer, options) => peer.cancelJob(request, options),
    });
  };
}
