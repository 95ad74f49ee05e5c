import { formatNoteKey } from "@nexus/merkle";
import type { AuditLogService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { toAuditLeaf } from "./convert-audit.ts";
import type { AuditHandlerDeps } from "./deps.ts";
import { assertNamespaceOfAll } from "./namespace-of-all.ts";

type ExportEntries = MethodImplementation<typeof AuditLogService.method.exportEntries>;

/** Serves AuditLogService.ExportEntries. Rows that are gone leave a gap: to find it is the reader's business. */
export function createExportEntries({ auditLog, auditSigner }: AuditHandlerDeps): ExportEntries {
  return async function* read({ fromIndex }, ctx) {
    assertNamespaceOfAll(ctx);
    const { size, checkpoints } = await auditLog.exportStart();
    const key = formatNoteKey(auditSigner.key());
    yield { frame: { case: "start", value: { key, checkpoints: [...checkpoints] } } };
    for (let from = Number(fromIndex); from < size && !ctx.signal.aborted; ) {
      const { leaves, storedHashes, next } = await auditLog.exportLeaves(from, size);
      const value = { leaves: leaves.map(toAuditLeaf), storedHashes };
      yield { frame: { case: "leaves", value } };
      from = next;
    }
  };
}
