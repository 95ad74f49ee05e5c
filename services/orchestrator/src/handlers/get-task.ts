import type { JobService } from "@nexus/proto/orchestrator";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { fromTask } from "./convert.ts";
import type { HandlerDeps } from "./deps.ts";
import { assertTaskId, taskNotFound } from "./find.ts";
import { writePlanRequest } from "./plan-codec.ts";

/** Serves GetTask. The input of a planning task is shown as a planner would be asked now. */
export function createGetTask({
  engine,
  reader,
}: HandlerDeps): MethodImplementation<typeof JobService.method.getTask> {
  return async ({ taskId }, ctx) => {
    engine.assertServing();
    assertTaskId(taskId);
    const { namespace } = requirePrincipal(ctx);
    const task = await reader.task(namespace, taskId);
    if (task === undefined) throw taskNotFound();
    const input = task.planning
      ? writePlanRequest(task.input, engine.liveCapabilities(namespace))
      : task.input;
    return { task: fromTask({ ...task, input }, engine.progressOf(taskId)) };
  };
}
