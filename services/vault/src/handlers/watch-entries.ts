import type { AuditLogService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { fromFilter, toAuditLeaf } from "./convert-audit.ts";
import type { AuditHandlerDeps } from "./deps.ts";

type WatchEntries = MethodImplementation<typeof AuditLogService.method.watchEntries>;

/** Serves AuditLogService.WatchEntries. */
export function createWatchEntries({ auditFeed, digestName }: AuditHandlerDeps): WatchEntries {
  return async function* watch(request, ctx) {
    const filter = fromFilter(ctx, request.filter, digestName);
    const from = request.resumeIndex < 0n ? undefined : Number(request.resumeIndex);
    for await (const { leaves, next } of auditFeed.follow(filter, from, ctx.signal)) {
      yield { entries: leaves.map(toAuditLeaf), nextIndex: BigInt(next) };
    }
  };
}
