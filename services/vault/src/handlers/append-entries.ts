import type { AuditIntakeService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { auditEntryInvalid } from "../domain/audit/audit-errors.ts";
import type { AuditHandlerDeps } from "./deps.ts";

type AppendEntries = MethodImplementation<typeof AuditIntakeService.method.appendEntries>;

/** Serves AuditIntakeService.AppendEntries. A service principal's id is the name of its service. */
export function createAppendEntries(deps: AuditHandlerDeps): AppendEntries {
  const { auditStore, describeDraft, assertAuditRoom } = deps;
  return async ({ stream, entries }, ctx) => {
    // Entries wait better where they are than in a second outbox.
    assertAuditRoom();
    const { principalId: service } = requirePrincipal(ctx);
    let before = 0n;
    for (const { position, draft } of entries) {
      if (position <= before) throw auditEntryInvalid("positions do not grow");
      before = position;
      if (describeDraft(draft).service !== service) {
        throw auditEntryInvalid("it names another service, or none");
      }
    }
    return { position: await auditStore.take({ service, stream, entries }) };
  };
}
