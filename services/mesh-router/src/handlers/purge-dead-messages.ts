import type { DeadMessageService } from "@nexus/proto/mesh";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { type DeadMessageDeps, toChoice } from "./dead-messages.ts";

const PURGE_MAX = 1_000;

/** Serves DeadMessageService.PurgeDeadMessages. */
export function createPurgeDeadMessages({
  deadMessages,
}: DeadMessageDeps): MethodImplementation<typeof DeadMessageService.method.purgeDeadMessages> {
  return async (request, ctx) => {
    const { namespace } = requirePrincipal(ctx);
    const choice = toChoice(request);
    const order = { namespace, choice, limit: PURGE_MAX, leaf: ctx.audit };
    return { purged: await deadMessages.purge(order) };
  };
}
