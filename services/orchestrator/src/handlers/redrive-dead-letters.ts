import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  JobService,
  RedriveDeadLettersRequest,
  RedriveDeadLettersResponseSchema,
} from "@nexus/proto/orchestrator";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { NexusError } from "@nexus/shared";
import { REDRIVE_MAX, type RedriveChoice } from "../domain/dead-letter.ts";
import { isTaskId } from "../domain/public-ids.ts";
import { toStorableText } from "../domain/settlement.ts";
import { deadLetterNotFound, type RedriveResult } from "../engine/redriver.ts";
import { atOwner } from "./at-owner.ts";
import { hashBody } from "./body-hash.ts";
import { tryFilter } from "./dead-letter-filter.ts";
import type { HandlerDeps } from "./deps.ts";
import { traceparentOf } from "./traceparent.ts";

/** Serves RedriveDeadLetters. */
export function createRedriveDeadLetters(
  deps: HandlerDeps,
): MethodImplementation<typeof JobService.method.redriveDeadLetters> {
  return async (request, ctx) => {
    const { namespace, principalId } = requirePrincipal(ctx);
    const choice = toChoice(request);
    const order = {
      namespace,
      principalId,
      requestId: toStorableText(request.requestId),
      bodyHash: hashBody(bodyOf(choice)),
      choice,
      traceparent: traceparentOf(ctx),
      leaf: ctx.audit,
    };
    return atOwner<MessageInitShape<typeof RedriveDeadLettersResponseSchema>>(deps, ctx, {
      id: undefined,
      local: async () => toMessage(await deps.engine.redrive(order)),
      remote: (peer, options) => peer.redriveDeadLetters(request, options),
    });
  };
}

function toMessage({ redrives, more }: RedriveResult) {
  return { redrives: [...redrives], more };
}

function toChoice({ taskIds, filter, limit }: RedriveDeadLettersRequest): RedriveChoice {
  if (taskIds.length > 0 === (filter !== undefined)) {
    throw invalidField("filter", "give task_ids or a filter, not both and not neither");
  }
  if (filter === undefined) {
    const unfit = taskIds.find((taskId) => !isTaskId(taskId));
    if (unfit !== undefined) throw deadLetterNotFound(toStorableText(unfit));
    return { kind: "ids", taskIds };
  }
  const wanted = tryFilter(filter);
  if (wanted === undefined) throw invalidField("filter.job_id", "is not the id of a job");
  return { kind: "filter", filter: wanted, limit: limit === 0 ? REDRIVE_MAX : limit };
}

/** The choice as plain values, which a hash can be made of. */
function bodyOf(choice: RedriveChoice) {
  if (choice.kind === "ids") return { taskIds: choice.taskIds.toSorted() };
  const { failedSince, failedBefore, ...texts } = choice.filter;
  return {
    limit: choice.limit,
    filter: {
      ...texts,
      failedSinceMs: failedSince?.getTime(),
      failedBeforeMs: failedBefore?.getTime(),
    },
  };
}

function invalidField(field: string, description: string): NexusError {
  return new NexusError({
    kind: "invalid",
    reason: "REQUEST_INVALID",
    message: `${field}: ${description}.`,
    details: { fieldViolations: [{ field, description }] },
  });
}
