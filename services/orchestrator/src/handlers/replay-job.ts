import type { MessageInitShape } from "@bufbuild/protobuf";
import type { JobService, ReplayJobResponseSchema } from "@nexus/proto/orchestrator";
import type { MethodImplementation } from "@nexus/rpc";
import { atOwner } from "./at-owner.ts";
import { fromJob } from "./convert.ts";
import type { HandlerDeps } from "./deps.ts";
import { toJobOrder } from "./job-order.ts";
import { traceparentOf } from "./traceparent.ts";

/** Serves ReplayJob. */
export function createReplayJob(
  deps: HandlerDeps,
): MethodImplementation<typeof JobService.method.replayJob> {
  return async (request, ctx) => {
    const { taskKey } = request;
    const job = toJobOrder(request, ctx, { taskKey });
    const order = { ...job, fromKey: taskKey, traceparent: traceparentOf(ctx) };
    return atOwner<MessageInitShape<typeof ReplayJobResponseSchema>>(deps, ctx, {
      id: request.jobId,
      local: async () => ({ job: fromJob(await deps.engine.replayer.replay(order)) }),
      remote: (peer, options) => peer.replayJob(request, options),
    });
  };
}
