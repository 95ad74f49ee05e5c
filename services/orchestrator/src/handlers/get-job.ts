import type { JobService } from "@nexus/proto/orchestrator";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { fromJob } from "./convert.ts";
import type { HandlerDeps } from "./deps.ts";
import { findJob } from "./find.ts";

/** Serves GetJob. */
export function createGetJob(
  deps: HandlerDeps,
): MethodImplementation<typeof JobService.method.getJob> {
  return async ({ jobId }, ctx) => {
    deps.engine.assertServing();
    const job = await findJob(deps, requirePrincipal(ctx).namespace, jobId);
    const ended = job.state === "COMPLETED" || job.state === "PARTIAL";
    const results = ended ? await deps.reader.results(jobId) : undefined;
    return { job: fromJob(job, results) };
  };
}
