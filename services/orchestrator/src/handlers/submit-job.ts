import type { MessageInitShape } from "@bufbuild/protobuf";
import type { JobService, SubmitJobResponseSchema } from "@nexus/proto/orchestrator";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { atOwner } from "./at-owner.ts";
import { fromJob } from "./convert.ts";
import type { HandlerDeps } from "./deps.ts";
import { toSubmission } from "./submission.ts";
import { traceparentOf } from "./traceparent.ts";

/** Serves SubmitJob. */
export function createSubmitJob(
  deps: HandlerDeps,
): MethodImplementation<typeof JobService.method.submitJob> {
  return async (request, ctx) => {
    const read = toSubmission(request, requirePrincipal(ctx), traceparentOf(ctx));
    const submission = { ...read, leaf: ctx.audit };
    return atOwner<MessageInitShape<typeof SubmitJobResponseSchema>>(deps, ctx, {
      id: undefined,
      local: async () => ({ job: fromJob(await deps.engine.submit(submission)) }),
      remote: (peer, options) => peer.submitJob(request, options),
    });
  };
}
