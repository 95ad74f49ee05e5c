import { int8Array, type Pool, type Queryable, textArray, withTransaction } from "@nexus/postgres";
import type { Ids } from "@nexus/shared";
import {
  ALERT_MERGE_MS,
  type Alert,
  type Finding,
  OPEN_ALERTS_MAX,
} from "../domain/anomaly/alert.ts";
import type { AlertJournal, Stored } from "../domain/anomaly/anomaly-desk.ts";
import {
  judgeFirstSeen,
  type KnownBefore,
  type KnownPair,
  VALUES_MAX,
} from "../domain/anomaly/first-seen.ts";
import { ALERT_COLUMNS, type AlertRow, severityNumber, toAlert } from "./alert-rows.ts";
import { NEXT_REVISION } from "./alert-store.ts";

const EXAMINED = 'SELECT next_leaf AS "nextLeaf" FROM anomaly_state';
const LOCK = `${EXAMINED} FOR UPDATE`;
const MOVE_ON = "UPDATE anomaly_state SET next_leaf = $1";

const COUNT_OPEN = `
  SELECT count(*)::int AS open FROM (
    SELECT FROM anomaly_alerts WHERE acknowledged_at IS NULL LIMIT $1) capped`;

const JOIN = `
  UPDATE anomaly_alerts SET revision = $2, findings = findings + 1, evidence = $3,
    last_at = $4, last_leaf = $5, severity = greatest(severity, $6)
  WHERE alert_id = (
    SELECT alert_id FROM anomaly_alerts
    WHERE subject = $1 AND acknowledged_at IS NULL
      AND last_at > $4::timestamptz - $7::float8 * interval '1 millisecond'
    ORDER BY last_at DESC LIMIT 1)
  RETURNING ${ALERT_COLUMNS}`;

const RAISE = `
  INSERT INTO anomaly_alerts (alert_id, revision, subject, detector, severity, namespace, principal_id, evidence,
    first_at, last_at, first_leaf, last_leaf, findings)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10, $10, 1)
  RETURNING ${ALERT_COLUMNS}`;

/** Says for each pair whether it is new, and what was known before. A principal with VALUES_MAX of a kind gets no more. */
const KNOWN = `
  SELECT p.place::int AS place, known.value IS NULL AS "isNew",
    (extract(epoch FROM before.since) * 1000)::float8 AS "sinceMs", before.known
  FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) WITH ORDINALITY
    AS p (namespace, principal_id, what, value, place)
  LEFT JOIN anomaly_known known USING (namespace, principal_id, what, value)
  CROSS JOIN LATERAL (
    SELECT min(first_at) AS since, count(*)::int AS known FROM anomaly_known k
    WHERE k.namespace = p.namespace AND k.principal_id = p.principal_id AND k.what = p.what) before`;

const KEEP = `
  INSERT INTO anomaly_known AS k (namespace, principal_id, what, value, first_at, last_at)
  SELECT namespace, principal_id, what, value, at, at FROM (
    SELECT DISTINCT ON (1, 2, 3, 4) namespace, principal_id, what, value,
      'epoch'::timestamptz + time_ms * interval '1 millisecond' AS at
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[])
      AS p (namespace, principal_id, what, value, time_ms)
    ORDER BY 1, 2, 3, 4, 5) pairs
  ON CONFLICT (namespace, principal_id, what, value) DO UPDATE
    SET last_at = greatest(k.last_at, excluded.last_at)`;

/** Creates the journal of what was examined. */
export function createAlertJournal(pool: Pool, ids: Ids): AlertJournal {
  return {
    async examinedUpTo() {
      const { rows } = await pool.query<{ nextLeaf: string }>(EXAMINED);
      return Number(rows[0]?.nextLeaf ?? 0);
    },
    commit: ({ next, findings, pairs }) =>
      withTransaction(pool, async (client) => {
        const { rows } = await client.query<{ nextLeaf: string }>(LOCK);
        const examined = Number(rows[0]?.nextLeaf ?? 0);
        if (next <= examined) return { alerts: [], dropped: 0 };
        const isFresh = ({ leafIndex }: { readonly leafIndex: number }) => leafIndex >= examined;
        const seen = await judgePairs(client, pairs.filter(isFresh));
        const stored = await raise(client, [...findings.filter(isFresh), ...seen], ids);
        await client.query(MOVE_ON, [next]);
        return stored;
      }),
  };
}

async function judgePairs(
  client: Queryable,
  pairs: readonly KnownPair[],
): Promise<readonly Finding[]> {
  if (pairs.length === 0) return [];
  const columns = columnsOf(pairs);
  const { rows } = await client.query<
    { readonly place: number; readonly isNew: boolean } & {
      readonly [K in keyof KnownBefore]: KnownBefore[K] | null;
    }
  >(KNOWN, columns);
  const fresh = rows.filter(({ isNew, known }) => isNew && (known ?? 0) < VALUES_MAX);
  const kept = rows.filter(({ isNew, known }) => !isNew || (known ?? 0) < VALUES_MAX);
  const keep = kept.map(({ place }) => pairs[place - 1] as KnownPair);
  if (keep.length > 0) {
    const times = int8Array(keep.map(({ timeMs }) => BigInt(Math.round(timeMs))));
    await client.query(KEEP, [...columnsOf(keep), times]);
  }
  return fresh.flatMap(({ place, sinceMs, known }) => {
    const pair = pairs[place - 1] as KnownPair;
    return judgeFirstSeen(pair, { sinceMs: sinceMs ?? undefined, known: known ?? 0 }) ?? [];
  });
}

function columnsOf(pairs: readonly KnownPair[]) {
  return [
    textArray(pairs.map(({ namespace }) => namespace)),
    textArray(pairs.map(({ principalId }) => principalId)),
    textArray(pairs.map(({ what }) => what)),
    textArray(pairs.map(({ value }) => value)),
  ];
}

async function raise(client: Queryable, findings: readonly Finding[], ids: Ids): Promise<Stored> {
  const alerts: Alert[] = [];
  for (const finding of findings) {
    const alert = (await join(client, finding)) ?? (await raiseNew(client, finding, ids));
    if (alert !== undefined) alerts.push(alert);
  }
  return { alerts, dropped: findings.length - alerts.length };
}

async function nextRevision(client: Queryable): Promise<string> {
  const { rows } = await client.query<{ revision: string }>(NEXT_REVISION);
  return rows[0]?.revision ?? "0";
}

async function join(client: Queryable, finding: Finding): Promise<Alert | undefined> {
  const { subject, evidence, timeMs, leafIndex, severity } = finding;
  const { rows } = await client.query<AlertRow>(JOIN, [
    subject,
    await nextRevision(client),
    JSON.stringify(evidence),
    new Date(timeMs),
    leafIndex,
    severityNumber(severity),
    ALERT_MERGE_MS,
  ]);
  return rows[0] === undefined ? undefined : toAlert(rows[0]);
}

/** Undefined when too many are open. */
async function raiseNew(client: Queryable, finding: Finding, ids: Ids): Promise<Alert | undefined> {
  const { rows: counted } = await client.query<{ open: number }>(COUNT_OPEN, [OPEN_ALERTS_MAX]);
  if ((counted[0]?.open ?? 0) >= OPEN_ALERTS_MAX) return undefined;
  const { subject, evidence, severity, namespace, principalId, timeMs, leafIndex } = finding;
  const { rows } = await client.query<AlertRow>(RAISE, [
    ids.next("alert"),
    await nextRevision(client),
    subject,
    evidence.detector,
    severityNumber(severity),
    namespace,
    principalId,
    JSON.stringify(evidence),
    new Date(timeMs),
    leafIndex,
  ]);
  return rows[0] === undefined ? undefined : toAlert(rows[0]);
}
