import { decodePageToken, encodePageToken, type Pool, type Queryable } from "@nexus/postgres";
import type { AlertReader, AlertWriter } from "../domain/anomaly/alert-ports.ts";
import { ALERT_COLUMNS, type AlertRow, severityNumber, toAlert } from "./alert-rows.ts";

const PAGE_KIND = "alerts";

const CHOSEN = `
      ($1::text IS NULL OR namespace = $1) AND severity >= $2 AND ($3::boolean OR acknowledged_at IS NULL)
  AND ($4::text IS NULL OR detector = $4) AND ($5::text IS NULL OR principal_id = $5)`;

const LIST = `
  SELECT ${ALERT_COLUMNS} FROM anomaly_alerts
  WHERE ${CHOSEN} AND ($6::bigint IS NULL OR revision < $6)
  ORDER BY revision DESC LIMIT $7`;

const CHANGED = `
  SELECT ${ALERT_COLUMNS} FROM anomaly_alerts
  WHERE ($1::text IS NULL OR namespace = $1) AND revision > $2 AND severity >= $3
  ORDER BY revision LIMIT $4`;

/** Takes the next number of a change, and the row that whoever changes alerts holds. */
export const NEXT_REVISION = "UPDATE anomaly_state SET revision = revision + 1 RETURNING revision";

const ACKNOWLEDGE = `
  UPDATE anomaly_alerts SET revision = $2, acknowledged_at = clock_timestamp(), acknowledged_by = $3, note = $4
  WHERE alert_id = $1 RETURNING ${ALERT_COLUMNS}`;

/** Creates the reader of alerts. */
export function createAlertReader(pool: Pool): AlertReader {
  return {
    async list({ namespace, severity, acknowledged, detector, principalId }, { size, token }) {
      const [below = null] = decodePageToken(PAGE_KIND, token, ["bigint"]) ?? [];
      const { rows } = await pool.query<AlertRow>(LIST, [
        namespace ?? null,
        severity === undefined ? 0 : severityNumber(severity),
        acknowledged,
        detector ?? null,
        principalId ?? null,
        below,
        size + 1,
      ]);
      const items = rows.slice(0, size).map(toAlert);
      const last = items.at(-1);
      const more = rows.length > size && last !== undefined;
      const nextPageToken = more ? encodePageToken(PAGE_KIND, [String(last.revision)]) : "";
      return { items, nextPageToken };
    },
    async changedAfter(revision, { namespace, severity }, limit) {
      const { rows } = await pool.query<AlertRow>(CHANGED, [
        namespace ?? null,
        String(revision),
        severity === undefined ? 0 : severityNumber(severity),
        limit,
      ]);
      return rows.map(toAlert);
    },
    async find(alertId) {
      const { rows } = await pool.query<AlertRow>(
        `SELECT ${ALERT_COLUMNS} FROM anomaly_alerts WHERE alert_id = $1`,
        [alertId],
      );
      return rows[0] === undefined ? undefined : toAlert(rows[0]);
    },
    async revision() {
      const { rows } = await pool.query<{ revision: string }>("SELECT revision FROM anomaly_state");
      return BigInt(rows[0]?.revision ?? 0);
    },
  };
}

/** Creates the writer of acknowledgements, inside a transaction. */
export function createAlertWriter(client: Queryable): AlertWriter {
  return {
    async acknowledge({ alertId, namespace, by, note }) {
      const { rows: next } = await client.query<{ revision: string }>(NEXT_REVISION);
      const { rows } = await client.query<AlertRow>(
        `SELECT ${ALERT_COLUMNS} FROM anomaly_alerts
         WHERE alert_id = $1 AND ($2::text IS NULL OR namespace = $2)`,
        [alertId, namespace ?? null],
      );
      const [row] = rows;
      if (row === undefined || row.acknowledgedAt !== null) return row && toAlert(row);
      const values = [alertId, next[0]?.revision, by, note];
      const changed = await client.query<AlertRow>(ACKNOWLEDGE, values);
      return toAlert(changed.rows[0] as AlertRow);
    },
  };
}
