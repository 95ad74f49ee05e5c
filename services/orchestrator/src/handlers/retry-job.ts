import type { MessageInitShape } from "@bufbuild/protobuf";
import type { JobService, RetryJobResponseSchema } from "@nexus/proto/orchestrator";
import type { MethodImplementation } from "@nexus/rpc";
import { atOwner } from "./at-owner.ts";
import { fromJob } from "./convert.ts";
import type { HandlerDeps } from "./deps.ts";
import { toJobOrder } from "./job-order.ts";
import { traceparentOf } from "./traceparent.ts";

/** Serves RetryJob. */
export function createRetryJob(
  deps: HandlerDeps,
): MethodImplementation<typeof JobService.method.retryJob> {
  return async (request, ctx) => {
    const job = toJobOrder(request, ctx);
    const order = { ...job, fromKey: undefined, traceparent: traceparentOf(ctx) };
    return atOwner<MessageInitShape<typeof RetryJobResponseSchema>>(deps, ctx, {
      id: request.jobId,
      local: async () => ({ job: fromJob(await deps.engine.replayer.replay(order)) }),
      remote: (peer, options) => peer.retryJob(request, options),
    });
  };
}
