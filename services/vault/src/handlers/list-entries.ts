import type { AuditLogService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { fromPage } from "./convert.ts";
import { fromFilter, toAuditLeaf } from "./convert-audit.ts";
import type { AuditHandlerDeps } from "./deps.ts";

type ListEntries = MethodImplementation<typeof AuditLogService.method.listEntries>;

/** Serves AuditLogService.ListEntries. */
export function createListEntries({ auditStore, digestName }: AuditHandlerDeps): ListEntries {
  return async (request, ctx) => {
    const filter = fromFilter(ctx, request.filter, digestName);
    const { items, nextPageToken } = await auditStore.list(filter, fromPage(request.page));
    return { entries: items.map(toAuditLeaf), page: { nextPageToken } };
  };
}
