import type { Alert, Evidence, Severity } from "../domain/anomaly/alert.ts";

/** As they are stored, so that "at least" is a comparison. */
const SEVERITIES: readonly Severity[] = ["low", "medium", "high"];

/** The number of a severity. */
export function severityNumber(severity: Severity): number {
  return SEVERITIES.indexOf(severity) + 1;
}

/** Columns of an AlertRow. */
export const ALERT_COLUMNS = `
  alert_id AS "alertId", revision, severity, namespace, principal_id AS "principalId", evidence, findings,
  first_at AS "firstAt", last_at AS "lastAt", first_leaf AS "firstLeaf", last_leaf AS "lastLeaf",
  acknowledged_at AS "acknowledgedAt", acknowledged_by AS "acknowledgedBy", note`;

/** A row of anomaly_alerts. */
export interface AlertRow {
  readonly alertId: string;
  readonly revision: string;
  readonly severity: number;
  readonly namespace: string;
  readonly principalId: string;
  readonly evidence: Evidence;
  readonly findings: number;
  readonly firstAt: Date;
  readonly lastAt: Date;
  readonly firstLeaf: string;
  readonly lastLeaf: string;
  readonly acknowledgedAt: Date | null;
  readonly acknowledgedBy: string | null;
  readonly note: string | null;
}

/** Reads a row. */
export function toAlert(row: AlertRow): Alert {
  return {
    alertId: row.alertId,
    revision: BigInt(row.revision),
    severity: SEVERITIES[row.severity - 1] ?? "high",
    namespace: row.namespace,
    principalId: row.principalId,
    evidence: row.evidence,
    count: row.findings,
    firstAtMs: row.firstAt.getTime(),
    lastAtMs: row.lastAt.getTime(),
    firstLeaf: Number(row.firstLeaf),
    lastLeaf: Number(row.lastLeaf),
    acknowledged:
      row.acknowledgedAt === null
        ? undefined
        : {
            atMs: row.acknowledgedAt.getTime(),
            by: row.acknowledgedBy ?? "",
            note: row.note ?? "",
          },
  };
}
