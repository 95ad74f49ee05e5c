import type { DeadMessageService } from "@nexus/proto/mesh";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { NexusError } from "@nexus/shared";
import { type DeadMessageDeps, toDeadMessage, tryDeadMessageId } from "./dead-messages.ts";

/** Serves DeadMessageService.GetDeadMessage. */
export function createGetDeadMessage({
  deadMessages,
}: DeadMessageDeps): MethodImplementation<typeof DeadMessageService.method.getDeadMessage> {
  return async ({ deadMessageId }, ctx) => {
    const { namespace } = requirePrincipal(ctx);
    const id = tryDeadMessageId(deadMessageId);
    const dead = id === undefined ? undefined : await deadMessages.get(namespace, id);
    if (dead === undefined) {
      throw new NexusError({
        kind: "not_found",
        reason: "DEAD_MESSAGE_NOT_FOUND",
        message: "There is no such dead message in this namespace.",
      });
    }
    return { deadMessage: toDeadMessage(dead, "body") };
  };
}
