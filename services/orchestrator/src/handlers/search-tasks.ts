import type { JobService } from "@nexus/proto/orchestrator";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { fromTask, toTaskStates } from "./convert.ts";
import type { HandlerDeps } from "./deps.ts";
import { pageOf, rangeOf } from "./find.ts";

/** Serves SearchTasks. */
export function createSearchTasks({
  engine,
  reader,
}: HandlerDeps): MethodImplementation<typeof JobService.method.searchTasks> {
  return async (request, ctx) => {
    engine.assertServing();
    const { tasks, nextPageToken } = await reader.searchTasks({
      namespace: requirePrincipal(ctx).namespace,
      states: toTaskStates(request.states),
      capability: request.capability,
      agentId: request.agentId,
      failureReason: request.failureReason,
      jobLabels: request.jobLabels,
      created: rangeOf(request.createdFrom, request.createdUntil),
      ended: rangeOf(request.endedFrom, request.endedUntil),
      ...pageOf(request.page),
    });
    return {
      tasks: tasks.map((task) => fromTask(task, engine.progressOf(task.taskId))),
      page: { nextPageToken },
    };
  };
}
