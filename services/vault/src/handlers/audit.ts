import type { AuditIntakeService, AuditLogService } from "@nexus/proto/vault";
import type { ServiceImplementation } from "@nexus/rpc";
import { createAppendEntries } from "./append-entries.ts";
import type { AuditHandlerDeps } from "./deps.ts";
import { createExportEntries } from "./export-entries.ts";
import { createGetCheckpoint } from "./get-checkpoint.ts";
import { createGetConsistencyProof } from "./get-consistency-proof.ts";
import { createGetInclusionProof } from "./get-inclusion-proof.ts";
import { createListEntries } from "./list-entries.ts";
import { createWatchEntries } from "./watch-entries.ts";

/** Every method of AuditLogService. */
export function createAuditLogHandlers(
  deps: AuditHandlerDeps,
): ServiceImplementation<typeof AuditLogService> {
  return {
    listEntries: createListEntries(deps),
    watchEntries: createWatchEntries(deps),
    exportEntries: createExportEntries(deps),
    getCheckpoint: createGetCheckpoint(deps),
    getInclusionProof: createGetInclusionProof(deps),
    getConsistencyProof: createGetConsistencyProof(deps),
  };
}

/** Every method of AuditIntakeService. */
export function createAuditIntakeHandlers(
  deps: AuditHandlerDeps,
): ServiceImplementation<typeof AuditIntakeService> {
  return { appendEntries: createAppendEntries(deps) };
}
