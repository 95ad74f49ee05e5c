import { timestampMs } from "@bufbuild/protobuf/wkt";
import { tryReadEntry } from "@nexus/audit";
import type { Pool } from "@nexus/postgres";
import { AuditResult } from "@nexus/proto/common";
import type { Ids } from "@nexus/shared";
import type { AuditEvent } from "../domain/anomaly/alert.ts";
import { AnomalyDesk, type AnomalyEvents } from "../domain/anomaly/anomaly-desk.ts";
import type { AuditStore, Leaf } from "../domain/audit/audit-entries.ts";
import { createAlertJournal } from "../store/alert-journal.ts";
import { createAlertReader } from "../store/alert-store.ts";

/** What the detection of anomalies is made of. */
export interface AnomalyOptions {
  readonly pool: Pool;
  readonly ids: Ids;
  readonly log: Pick<AuditStore, "latest" | "range">;
  readonly events: AnomalyEvents;
}

/** What looks for anomalies in the audit log, and what shows them. */
export function createAnomalies({ pool, ids, log, events }: AnomalyOptions) {
  const journal = createAlertJournal(pool, ids);
  return {
    anomalyDesk: new AnomalyDesk({ journal, log, read: readEvent, events }),
    alerts: createAlertReader(pool),
  };
}

const OUTCOMES: Readonly<Record<number, AuditEvent["outcome"]>> = {
  [AuditResult.ALLOWED]: "allowed",
  [AuditResult.DENIED]: "denied",
};

/** Reads a leaf as detectors see it; undefined for what somebody wrote past the services. */
export function readEvent({ index, leaf }: Leaf): AuditEvent | undefined {
  const entry = tryReadEntry(leaf);
  if (entry?.time === undefined) return undefined;
  const { action, namespace, actor, actorKind, tokenId, peer, resource, result, count } = entry;
  return {
    leafIndex: index,
    timeMs: timestampMs(entry.time),
    method: action.split("/").at(-1) ?? action,
    namespace,
    principalId: actor,
    kind: actorKind,
    tokenId,
    // The port is another one for every connection.
    host: peer.replace(/:\d+$/, ""),
    resource,
    outcome: OUTCOMES[result] ?? "failed",
    count: Math.max(1, count),
  };
}
