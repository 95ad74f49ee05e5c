import type { MessageInitShape } from "@bufbuild/protobuf";
import type { GetTaskResponseSchema, JobService } from "@nexus/proto/orchestrator";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { atOwner } from "./at-owner.ts";
import { fromTask } from "./convert.ts";
import type { HandlerDeps } from "./deps.ts";
import { assertTaskId, taskNotFound } from "./find.ts";
import { writePlanRequest } from "./plan-codec.ts";

/** Serves GetTask. The input of a planning task is shown as a planner would be asked now. */
export function createGetTask(
  deps: HandlerDeps,
): MethodImplementation<typeof JobService.method.getTask> {
  return async (request, ctx) => {
    assertTaskId(request.taskId);
    const { namespace } = requirePrincipal(ctx);
    return atOwner<MessageInitShape<typeof GetTaskResponseSchema>>(deps, ctx, {
      id: request.taskId,
      local: () => getTask(deps, namespace, request.taskId),
      remote: (peer, options) => peer.getTask(request, options),
    });
  };
}

async function getTask({ engine, reader }: HandlerDeps, namespace: string, taskId: string) {
  const task = await reader.task(namespace, taskId);
  if (task === undefined) throw taskNotFound();
  const input = task.planning
    ? writePlanRequest(task.input, engine.liveCapabilities(namespace))
    : task.input;
  return { task: fromTask({ ...task, input }, engine.progressOf(taskId)) };
}
