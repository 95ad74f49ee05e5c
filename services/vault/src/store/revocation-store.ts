import type { Pool, Queryable } from "@nexus/postgres";
import type { Namespace } from "@nexus/shared";
import type { RevocationReader, RevocationWriter } from "../domain/ports.ts";
import type { RevocationRecord, RevocationTarget } from "../domain/revocation.ts";

/** A verifier accepts a token for this long after its end; vault's own clock may be off by as much again. */
const SKEW_MARGIN_MS = 10_000;

const COLUMNS = `
  r.target, r.namespace, r.target_id AS id, r.revision, r.revoke_time AS "revokeTime",
  r.expires_at AS "expiresAt"`;

// The head's row lock is held until the commit: see the migration. The time is rounded up to the millisecond, so a
// token issued in the same one is covered. It is read after the lock of the principal that the transaction holds.
const ADD = `
  WITH head AS (
    UPDATE revocation_head SET revision = revision + 1 RETURNING revision
  ), moment AS MATERIALIZED (
    SELECT date_trunc('milliseconds', clock_timestamp() + interval '999 microseconds') AS at,
      (SELECT max(token_ttl_max_ms) FROM signing_keys) + $4 AS life_ms
  )
  INSERT INTO revocations AS r (target, namespace, target_id, revision, revoke_time, expires_at)
  SELECT $1, $2, $3, head.revision, moment.at, moment.at + moment.life_ms * interval '1 millisecond'
  FROM head, moment
  ON CONFLICT (target, namespace, target_id) DO UPDATE SET revision = excluded.revision,
    revoke_time = excluded.revoke_time, expires_at = greatest(r.expires_at, excluded.expires_at)
  RETURNING ${COLUMNS}`;

const AFTER = `SELECT ${COLUMNS} FROM revocations r WHERE r.revision > $1 ORDER BY r.revision LIMIT $2`;

interface RevocationRow {
  readonly target: RevocationTarget;
  readonly namespace: Namespace;
  readonly id: string;
  readonly revision: string;
  readonly revokeTime: Date;
  readonly expiresAt: Date;
}

function toRecord(row: RevocationRow): RevocationRecord {
  const { target, namespace, id } = row;
  return {
    target,
    namespace,
    id,
    revision: BigInt(row.revision),
    revokeTimeMs: row.revokeTime.getTime(),
    expireTimeMs: row.expiresAt.getTime(),
  };
}

/** Creates the reader of revocations. */
export function createRevocationReader(pool: Pool): RevocationReader {
  return {
    async after(revision, limit) {
      const statement = {
        name: "revocations-after",
        text: AFTER,
        values: [revision.toString(), limit],
      };
      return (await pool.query<RevocationRow>(statement)).rows.map(toRecord);
    },
  };
}

/** Binds the revocations to a transaction. */
export function createRevocationWriter(client: Queryable): RevocationWriter {
  return {
    async add({ target, namespace, id }) {
      const { rows } = await client.query<RevocationRow>(ADD, [
        target,
        namespace,
        id,
        SKEW_MARGIN_MS,
      ]);
      return toRecord(rows[0] as RevocationRow);
    },
  };
}
