import { AcknowledgeAlertRequestSchema, type AnomalyService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { alertNotFound } from "../domain/anomaly/alert-errors.ts";
import { namespaceSeenBy, toAlertMessage } from "./convert-alerts.ts";
import type { AlertHandlerDeps } from "./deps.ts";
import { requestKey } from "./request-key.ts";

type AcknowledgeAlert = MethodImplementation<typeof AnomalyService.method.acknowledgeAlert>;

/** Serves AnomalyService.AcknowledgeAlert. */
export function createAcknowledgeAlert({
  alerts,
  mutations,
  digestBody,
}: AlertHandlerDeps): AcknowledgeAlert {
  return async (request, ctx) => {
    const key = requestKey(ctx, AcknowledgeAlertRequestSchema, request, digestBody);
    const { alertId, note } = request;
    const namespace = namespaceSeenBy(ctx);
    const by = requirePrincipal(ctx).principalId;
    await mutations.run(key, async (transaction) => {
      const order = { alertId, namespace, by, note };
      if ((await transaction.alerts.acknowledge(order)) === undefined) throw alertNotFound();
      return {};
    });
    const alert = await alerts.find(alertId);
    if (alert === undefined) throw alertNotFound();
    return { alert: toAlertMessage(alert) };
  };
}
