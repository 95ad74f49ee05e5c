import type { AnomalyService } from "@nexus/proto/vault";
import type { ServiceImplementation } from "@nexus/rpc";
import { createAcknowledgeAlert } from "./acknowledge-alert.ts";
import type { AlertHandlerDeps } from "./deps.ts";
import { createListAlerts } from "./list-alerts.ts";
import { createWatchAlerts } from "./watch-alerts.ts";

/** Every method of AnomalyService. */
export function createAnomalyHandlers(
  deps: AlertHandlerDeps,
): ServiceImplementation<typeof AnomalyService> {
  return {
    listAlerts: createListAlerts(deps),
    watchAlerts: createWatchAlerts(deps),
    acknowledgeAlert: createAcknowledgeAlert(deps),
  };
}
