import type { AnomalyService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { fromPage } from "./convert.ts";
import {
  fromAnomalyKind,
  fromSeverity,
  namespaceSeenBy,
  toAlertMessage,
} from "./convert-alerts.ts";
import type { AlertHandlerDeps } from "./deps.ts";

type ListAlerts = MethodImplementation<typeof AnomalyService.method.listAlerts>;

/** Serves AnomalyService.ListAlerts. */
export function createListAlerts({ alerts }: AlertHandlerDeps): ListAlerts {
  return async (request, ctx) => {
    const { severity, kind, principalId, includeAcknowledged, page } = request;
    const filter = {
      namespace: namespaceSeenBy(ctx),
      severity: fromSeverity(severity),
      detector: fromAnomalyKind(kind),
      principalId: principalId === "" ? undefined : principalId,
      acknowledged: includeAcknowledged,
    };
    const { items, nextPageToken } = await alerts.list(filter, fromPage(page));
    return { alerts: items.map(toAlertMessage), page: { nextPageToken } };
  };
}
