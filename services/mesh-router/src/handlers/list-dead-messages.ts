import type { DeadMessageService } from "@nexus/proto/mesh";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { type DeadMessageDeps, toDeadMessage, toFilter } from "./dead-messages.ts";

const PAGE_SIZE_DEFAULT = 100;

/** Serves DeadMessageService.ListDeadMessages. */
export function createListDeadMessages({
  deadMessages,
}: DeadMessageDeps): MethodImplementation<typeof DeadMessageService.method.listDeadMessages> {
  return async ({ filter, includeRedelivered, page }, ctx) => {
    const { namespace } = requirePrincipal(ctx);
    const { messages, nextPageToken } = await deadMessages.list({
      namespace,
      filter: toFilter(filter),
      includeRedelivered,
      pageSize: page === undefined || page.pageSize === 0 ? PAGE_SIZE_DEFAULT : page.pageSize,
      pageToken: page?.pageToken ?? "",
    });
    return {
      deadMessages: messages.map((dead) => toDeadMessage(dead, "no-body")),
      page: { nextPageToken },
    };
  };
}
