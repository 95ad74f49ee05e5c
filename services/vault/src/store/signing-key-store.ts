import type { Pool, Queryable } from "@nexus/postgres";
import type { SigningKeyReader, SigningKeyWriter } from "../domain/ports.ts";
import type { SigningKeyRow } from "../domain/signing-key.ts";

/** Advisory lock of everything that changes signing keys: "NXVK". */
const LOCK_CLASS = 0x4e58564b;

const COLUMNS = `
  kid, state, public_jwk AS "publicJwk", private_box AS "privateBox",
  box_key_version AS "boxKeyVersion", published_at AS "publishedAt", activated_at AS "activatedAt"`;
const LIST = `SELECT ${COLUMNS} FROM signing_keys ORDER BY published_at, kid`;

const INSERT = `
  INSERT INTO signing_keys
    (kid, state, public_jwk, private_box, box_key_version, published_at, activated_at, token_ttl_max_ms)
  SELECT $1, $2, $3, $4, $5, now.at, CASE WHEN $2 = 'current' THEN now.at END, $6
  FROM (SELECT date_trunc('milliseconds', clock_timestamp()) AS at) now`;

const DEMOTE_CURRENT = `
  UPDATE signing_keys SET state = 'previous', private_box = NULL,
    tokens_end_at = clock_timestamp() + (token_ttl_max_ms + $1) * interval '1 millisecond'
  WHERE state = 'current'`;

const PROMOTE_NEXT = `
  UPDATE signing_keys SET state = 'current', activated_at = clock_timestamp() WHERE state = 'next'`;

const DELETE_ENDED = `
  DELETE FROM signing_keys WHERE state = 'previous' AND tokens_end_at < clock_timestamp()`;

const RAISE_TTL = `
  UPDATE signing_keys SET token_ttl_max_ms = $1 WHERE state <> 'previous' AND token_ttl_max_ms < $1`;

interface KeyRow extends Omit<SigningKeyRow, "privateBox" | "publishedAtMs" | "activatedAtMs"> {
  readonly privateBox: Buffer | null;
  readonly boxKeyVersion: number | null;
  readonly publishedAt: Date;
  readonly activatedAt: Date | null;
}

function toSigningKey({ privateBox, boxKeyVersion, ...row }: KeyRow): SigningKeyRow {
  const { publishedAt, activatedAt, ...key } = row;
  return {
    ...key,
    privateBox:
      privateBox === null ? undefined : { box: privateBox, keyVersion: boxKeyVersion ?? undefined },
    publishedAtMs: publishedAt.getTime(),
    activatedAtMs: activatedAt?.getTime(),
  };
}

/** Creates the reader of signing keys. */
export function createSigningKeyReader(pool: Pool): SigningKeyReader {
  return {
    async list() {
      return (await pool.query<KeyRow>(LIST)).rows.map(toSigningKey);
    },
    async raiseTokenTtl(ttlMs) {
      await pool.query(RAISE_TTL, [ttlMs]);
    },
  };
}

/** Binds the signing keys to a transaction. */
export function createSigningKeyWriter(client: Queryable): SigningKeyWriter {
  return {
    async lockAll() {
      await client.query("SELECT pg_advisory_xact_lock($1, 0)", [LOCK_CLASS]);
      const { rows } = await client.query<KeyRow>(LIST);
      const time = await client.query<{ now: Date }>("SELECT clock_timestamp() AS now");
      return { keys: rows.map(toSigningKey), nowMs: (time.rows[0]?.now ?? new Date(0)).getTime() };
    },
    async insert({ kid, state, publicJwk, privateBox, tokenTtlMs }) {
      const { box, keyVersion = null } = privateBox;
      const jwk = JSON.stringify(publicJwk);
      await client.query(INSERT, [kid, state, jwk, box, keyVersion, tokenTtlMs]);
    },
    async demoteCurrent(marginMs) {
      await client.query(DEMOTE_CURRENT, [marginMs]);
    },
    async promoteNext() {
      await client.query(PROMOTE_NEXT);
    },
    async deleteEnded() {
      await client.query(DELETE_ENDED);
    },
  };
}
