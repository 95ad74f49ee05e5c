import type { JobService } from "@nexus/proto/orchestrator";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { fromTask, toTaskStates } from "./convert.ts";
import type { HandlerDeps } from "./deps.ts";
import { findJob, pageOf } from "./find.ts";

/** Serves ListTasks. */
export function createListTasks(
  deps: HandlerDeps,
): MethodImplementation<typeof JobService.method.listTasks> {
  return async (request, ctx) => {
    const { engine, reader } = deps;
    engine.assertServing();
    const { jobId } = await findJob(deps, requirePrincipal(ctx).namespace, request.jobId);
    const states = toTaskStates(request.states);
    const { tasks, nextPageToken } = await reader.tasks({
      jobId,
      states,
      ...pageOf(request.page),
    });
    return {
      tasks: tasks.map((task) => fromTask(task, engine.progressOf(task.taskId))),
      page: { nextPageToken },
    };
  };
}
