import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ExplainTaskResponseSchema, JobService } from "@nexus/proto/orchestrator";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { EXPLAIN_ATTEMPTS_MAX } from "../domain/limits.ts";
import { atOwner } from "./at-owner.ts";
import { fromAttempt, fromDecision, fromTask } from "./convert.ts";
import type { HandlerDeps } from "./deps.ts";
import { assertTaskId, taskNotFound } from "./find.ts";

/** Serves ExplainTask. */
export function createExplainTask(
  deps: HandlerDeps,
): MethodImplementation<typeof JobService.method.explainTask> {
  return async (request, ctx) => {
    assertTaskId(request.taskId);
    const { namespace } = requirePrincipal(ctx);
    return atOwner<MessageInitShape<typeof ExplainTaskResponseSchema>>(deps, ctx, {
      id: request.taskId,
      local: () => explainTask(deps, namespace, request.taskId),
      remote: (peer, options) => peer.explainTask(request, options),
    });
  };
}

async function explainTask({ engine, reader }: HandlerDeps, namespace: string, taskId: string) {
  const task = await reader.bareTask(namespace, taskId);
  if (task === undefined) throw taskNotFound();
  const attempts = await reader.attempts(taskId, EXPLAIN_ATTEMPTS_MAX);
  const avoidAgentId = task.failure === undefined ? "" : task.agentId;
  const now =
    task.state === "READY"
      ? engine.explainNow({ taskId, namespace, spec: task.spec, avoidAgentId })
      : undefined;
  return {
    task: fromTask(task, engine.progressOf(taskId)),
    attempts: attempts.map(fromAttempt),
    ...(now === undefined ? {} : { now: fromDecision(now) }),
  };
}
