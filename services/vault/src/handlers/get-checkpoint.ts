import { formatNoteKey } from "@nexus/merkle";
import type { AuditLogService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import type { AuditHandlerDeps } from "./deps.ts";

type GetCheckpoint = MethodImplementation<typeof AuditLogService.method.getCheckpoint>;

/** Serves AuditLogService.GetCheckpoint. */
export function createGetCheckpoint({ auditLog, auditSigner }: AuditHandlerDeps): GetCheckpoint {
  return async () => {
    const { note } = await auditLog.latest();
    return { checkpoint: note, key: formatNoteKey(auditSigner.key()) };
  };
}
