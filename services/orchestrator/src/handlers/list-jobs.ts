import type { JobService } from "@nexus/proto/orchestrator";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { fromJob, toJobStates } from "./convert.ts";
import type { HandlerDeps } from "./deps.ts";
import { pageOf, rangeOf } from "./find.ts";

/** Serves ListJobs. */
export function createListJobs({
  engine,
  reader,
}: HandlerDeps): MethodImplementation<typeof JobService.method.listJobs> {
  return async (request, ctx) => {
    engine.assertServing();
    const { jobs, nextPageToken } = await reader.jobs({
      namespace: requirePrincipal(ctx).namespace,
      states: toJobStates(request.states),
      labels: request.labels,
      created: rangeOf(request.createdFrom, request.createdUntil),
      ended: rangeOf(request.endedFrom, request.endedUntil),
      capability: request.capability,
      agentId: request.agentId,
      principalId: request.principalId,
      ...pageOf(request.page),
    });
    return { jobs: jobs.map((job) => fromJob(job)), page: { nextPageToken } };
  };
}
