import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CancelJobResponseSchema, JobService } from "@nexus/proto/orchestrator";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { isJobId } from "../domain/public-ids.ts";
import { toStorableText } from "../domain/settlement.ts";
import { jobNotFound } from "../engine/canceller.ts";
import { atOwner } from "./at-owner.ts";
import { hashBody } from "./body-hash.ts";
import { fromJob } from "./convert.ts";
import type { HandlerDeps } from "./deps.ts";

/** Serves CancelJob. */
export function createCancelJob(
  deps: HandlerDeps,
): MethodImplementation<typeof JobService.method.cancelJob> {
  return async (request, ctx) => {
    const { jobId, reason, requestId } = request;
    if (!isJobId(jobId)) throw jobNotFound();
    const { namespace, principalId } = requirePrincipal(ctx);
    const order = {
      namespace,
      principalId,
      requestId: toStorableText(requestId),
      bodyHash: hashBody({ jobId, reason }),
      jobId,
      reason,
    };
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
