import type { Pool } from "@nexus/postgres";
import { SYSTEM_NAMESPACE } from "@nexus/shared";
import type { Standing } from "../domain/standing.ts";

// Every part is one row, found at once: an end of a primary key, or a table of one row. Without the seal's row nobody knows; closed is
// the safe answer. Numbers of entries that a rolled-back transaction took count as well.
const LOOK = `
  SELECT (SELECT revision FROM revocation_head) AS revocations,
    (SELECT revision FROM access_head) AS policies,
    (SELECT revision FROM key_head) AS keys,
    coalesce((SELECT sealed FROM seal_state), true) AS "isSealed",
    (SELECT max(version) FROM tenant_keys WHERE namespace = $1) AS "boxKeyVersion",
    (SELECT coalesce(max(entry_no) - min(entry_no) + 1, 0) FROM audit_outbox) AS "entriesWaiting",
    (SELECT coalesce(max(tree_size), 0) FROM audit_checkpoints) AS "logSize",
    (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS "nowMs"`;

interface Row {
  readonly revocations: string;
  readonly policies: string;
  readonly keys: string;
  readonly isSealed: boolean;
  readonly boxKeyVersion: number | null;
  readonly entriesWaiting: string;
  readonly logSize: string;
  readonly nowMs: number;
}

/** Creates what looks how far everything is, in one statement: it is asked several times a second. */
export function createStandingReader(pool: Pool): () => Promise<Standing> {
  return async () => {
    const statement = { name: "standing", text: LOOK, values: [SYSTEM_NAMESPACE] };
    const row = (await pool.query<Row>(statement)).rows[0] as Row;
    return {
      revocations: BigInt(row.revocations),
      policies: BigInt(row.policies),
      keys: BigInt(row.keys),
      isSealed: row.isSealed,
      boxKeyVersion: row.boxKeyVersion ?? undefined,
      entriesWaiting: Number(row.entriesWaiting),
      logSize: Number(row.logSize),
      nowMs: row.nowMs,
    };
  };
}
