import type { MessageInitShape } from "@bufbuild/protobuf";
import type { JobService, ResumeJobResponseSchema } from "@nexus/proto/orchestrator";
import type { MethodImplementation } from "@nexus/rpc";
import { atOwner } from "./at-owner.ts";
import { fromJob } from "./convert.ts";
import type { HandlerDeps } from "./deps.ts";
import { toJobOrder } from "./job-order.ts";

/** Serves ResumeJob. */
export function createResumeJob(
  deps: HandlerDeps,
): MethodImplementation<typeof JobService.method.resumeJob> {
  return async (request, ctx) => {
    const order = toJobOrder(request, ctx);
    return atOwner<MessageInitShape<typeof ResumeJobResponseSchema>>(deps, ctx, {
      id: request.jobId,
      local: async () => ({ job: fromJob(await deps.engine.pauser.resume(order)) }),
      remote: (peer, options) => peer.resumeJob(request, options),
    });
  };
}
