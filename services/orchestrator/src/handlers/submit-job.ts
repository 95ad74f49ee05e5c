import type { JobService } from "@nexus/proto/orchestrator";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { context, propagation } from "@opentelemetry/api";
import { fromJob } from "./convert.ts";
import type { HandlerDeps } from "./deps.ts";
import { toSubmission } from "./submission.ts";

/** Serves SubmitJob. */
export function createSubmitJob({
  engine,
}: HandlerDeps): MethodImplementation<typeof JobService.method.submitJob> {
  return async (request, ctx) => {
    engine.assertServing();
    const submission = toSubmission(request, requirePrincipal(ctx), activeTraceparent());
    return { job: fromJob(await engine.submit(submission)) };
  };
}

/** The trace of the call, which every later span of the job joins. */
function activeTraceparent(): string {
  const carrier: { traceparent?: string } = {};
  propagation.inject(context.active(), carrier);
  return carrier.traceparent ?? "";
}
