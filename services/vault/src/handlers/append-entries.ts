import type { AppendedEntry, AuditIntakeService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { auditEntryInvalid } from "../domain/audit/audit-errors.ts";
import type { AuditHandlerDeps } from "./deps.ts";

type AppendEntries = MethodImplementation<typeof AuditIntakeService.method.appendEntries>;

/** Serves AuditIntakeService.AppendEntries. A service principal's id is the name of its service. */
export function createAppendEntries(deps: AuditHandlerDeps): AppendEntries {
  const { auditStore, judgeEntry, auditEvents, assertAuditRoom } = deps;
  return async ({ stream, entries }, ctx) => {
    // Entries wait better where they are than in a second outbox.
    assertAuditRoom();
    const { principalId: service } = requirePrincipal(ctx);
    assertGrowing(entries);
    const judged = entries.map((entry) => ({
      ...entry,
      refusal: judgeEntry({ ...entry, service, stream }),
    }));
    const { position, quarantined } = await auditStore.take({ service, stream, entries: judged });
    if (quarantined > 0) auditEvents.auditEntriesQuarantined(service, quarantined);
    return { position };
  };
}

/** Errors: invalid/AUDIT_ENTRY_INVALID. */
function assertGrowing(entries: readonly AppendedEntry[]): void {
  let before = 0n;
  for (const { position } of entries) {
    if (position <= before) throw auditEntryInvalid("positions do not grow");
    before = position;
  }
}
