import type { Pool, Queryable } from "@nexus/postgres";
import type { AuthorityRow } from "../domain/authority.ts";
import type { AuthorityReader, AuthorityWriter } from "../domain/ports.ts";

/** Advisory lock of everything that changes authorities: "NXVA". */
const LOCK_CLASS = 0x4e585641;

// One row comes even without an authority, so that the time does.
const LIST = `
  SELECT ca_id AS "caId", cert_pem AS "certPem", key_box AS "keyBox", box_key_version AS "boxKeyVersion",
    signs_from AS "signsFrom", not_after AS "notAfter", trusted_until AS "trustedUntil", moment.now
  FROM (SELECT clock_timestamp() AS now) moment
  LEFT JOIN certificate_authorities ON trusted_until IS NULL OR trusted_until > moment.now
  ORDER BY signs_from, ca_id`;

const INSERT = `
  INSERT INTO certificate_authorities (ca_id, cert_pem, key_box, box_key_version, signs_from, not_after)
  VALUES ($1, $2, $3, $4, $5, $6)`;
const RETIRE_ALL = `
  UPDATE certificate_authorities SET trusted_until = $1 WHERE trusted_until IS NULL`;
const DROP_OLD_KEYS = `
  UPDATE certificate_authorities old SET key_box = NULL, box_key_version = NULL
  WHERE key_box IS NOT NULL AND EXISTS (
    SELECT FROM certificate_authorities newer
    WHERE newer.signs_from > old.signs_from AND newer.signs_from < $1)`;
const DELETE_ENDED = "DELETE FROM certificate_authorities WHERE trusted_until < $1";

interface ListRow {
  readonly caId: string | null;
  readonly certPem: string;
  readonly keyBox: Buffer | null;
  readonly boxKeyVersion: number | null;
  readonly signsFrom: Date;
  readonly notAfter: Date;
  readonly trustedUntil: Date | null;
  readonly now: Date;
}

/** Creates the reader of authorities. */
export function createAuthorityReader(pool: Pool): AuthorityReader {
  return { list: () => list(pool) };
}

/** Binds the authorities to a transaction. */
export function createAuthorityWriter(client: Queryable): AuthorityWriter {
  return {
    async lockAll() {
      await client.query("SELECT pg_advisory_xact_lock($1, 0)", [LOCK_CLASS]);
      return list(client);
    },
    async insert({ caId, certPem, keyBox, signsFromMs, notAfterMs }) {
      const times = [new Date(signsFromMs), new Date(notAfterMs)];
      const box = [keyBox?.box ?? null, keyBox?.keyVersion ?? null];
      await client.query(INSERT, [caId, certPem, ...box, ...times]);
    },
    async retireAll(atMs) {
      await client.query(RETIRE_ALL, [new Date(atMs)]);
    },
    async dropOldKeys(beforeMs) {
      await client.query(DROP_OLD_KEYS, [new Date(beforeMs)]);
    },
    async deleteEnded(nowMs) {
      await client.query(DELETE_ENDED, [new Date(nowMs)]);
    },
  };
}

async function list(client: Queryable) {
  const { rows } = await client.query<ListRow>(LIST);
  const nowMs = (rows[0]?.now ?? new Date(0)).getTime();
  return { rows: rows.flatMap((row) => tryRow(row) ?? []), nowMs };
}

function tryRow({ caId, keyBox, boxKeyVersion, ...row }: ListRow): AuthorityRow | undefined {
  if (caId === null) return undefined;
  return {
    caId,
    certPem: row.certPem,
    keyBox: keyBox === null ? undefined : { box: keyBox, keyVersion: boxKeyVersion ?? undefined },
    signsFromMs: row.signsFrom.getTime(),
    notAfterMs: row.notAfter.getTime(),
    trustedUntilMs: row.trustedUntil?.getTime(),
  };
}
