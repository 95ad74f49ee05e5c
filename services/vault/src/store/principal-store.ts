import type { ConstraintMeanings, Pool, Queryable } from "@nexus/postgres";
import { decodePageToken, encodePageToken, mapPgError } from "@nexus/postgres";
import type { Batcher } from "@nexus/shared";
import { createBatcher } from "@nexus/shared";
import { principalExists } from "../domain/errors.ts";
import type {
  NewPrincipal,
  PrincipalKey,
  PrincipalReader,
  PrincipalUpkeep,
  PrincipalWriter,
} from "../domain/ports.ts";
import type { PrincipalRecord, StoredPrincipal } from "../domain/principal.ts";
import { withoutCredentials } from "../domain/principal.ts";
import type { PrincipalRow } from "./principal-rows.ts";
import { PRINCIPAL_COLUMNS, toStoredPrincipal } from "./principal-rows.ts";

const { kind, reason, message } = principalExists();
const CONSTRAINTS: ConstraintMeanings = { principals_pkey: { kind, reason, message } };
const PAGE_KIND = "principals";

/** Lookups of concurrent grants share one statement; alone, a lookup leaves in the same turn of the event loop. */
const FIND_BATCH_MAX = 64;
const FIND_QUEUE_MAX = 2000;
const FIND_CONCURRENCY = 2;

const FIND = `
  SELECT ${PRINCIPAL_COLUMNS}, wanted.place::integer AS place
  FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS wanted (namespace, principal_id, place)
  JOIN principals p USING (namespace, principal_id)`;

const LIST = `
  SELECT ${PRINCIPAL_COLUMNS} FROM principals p
  WHERE p.namespace = $1 AND p.principal_id > $2
  ORDER BY p.principal_id LIMIT $3`;

const INSERT = `
  INSERT INTO principals AS p
    (namespace, principal_id, kind, scopes, password_hash, secret_digest, roles)
  VALUES ($1, $2, $3, $4, $5, $6, $7)`;

const LOCK = `
  SELECT ${PRINCIPAL_COLUMNS} FROM principals p
  WHERE p.namespace = $1 AND p.principal_id = $2 FOR NO KEY UPDATE`;

const SET_DISABLED = `
  UPDATE principals p SET disabled = $3, updated_at = now()
  WHERE p.namespace = $1 AND p.principal_id = $2 RETURNING ${PRINCIPAL_COLUMNS}`;

const REPLACE_SECRET = `
  UPDATE principals SET secret_digest = $3, credential_version = credential_version + 1, updated_at = now()
  WHERE namespace = $1 AND principal_id = $2`;

const REPLACE_PASSWORD = `
  UPDATE principals SET password_hash = $3, credential_version = credential_version + 1, updated_at = now()
  WHERE namespace = $1 AND principal_id = $2`;

// xmax is 0 for a row that the statement inserted; no row comes back when nothing had to change.
const UPSERT_SERVICE = `
  ${INSERT}
  ON CONFLICT (namespace, principal_id) DO UPDATE SET
    kind = excluded.kind, scopes = excluded.scopes, password_hash = NULL,
    secret_digest = excluded.secret_digest, disabled = false, updated_at = now(),
    credential_version = p.credential_version + 1
  WHERE (p.kind, p.scopes, p.secret_digest, p.disabled)
    IS DISTINCT FROM (excluded.kind, excluded.scopes, excluded.secret_digest, false)
  RETURNING (p.xmax = 0) AS created`;

const REPLACE_PASSWORD_HASH = `
  UPDATE principals SET password_hash = $4, updated_at = now()
  WHERE namespace = $1 AND principal_id = $2 AND password_hash = $3`;

// The form of a hash is that of domain/password-hash.ts.
const COUNT_PEPPERS = `
  SELECT substring(password_hash FROM ',k=([0-9]+)')::integer AS version, count(*)::integer AS count
  FROM principals WHERE password_hash LIKE '%,k=%' AND NOT disabled GROUP BY 1`;

function insertValues(principal: NewPrincipal): readonly unknown[] {
  const {
    namespace,
    principalId,
    kind,
    scopes,
    passwordHash,
    secretDigest,
    roles = [],
  } = principal;
  const credentials = [passwordHash ?? null, secretDigest ?? null];
  return [namespace, principalId, kind, scopes, ...credentials, roles];
}

function onlyRow(rows: readonly PrincipalRow[]): PrincipalRecord {
  return withoutCredentials(toStoredPrincipal(rows[0] as PrincipalRow));
}

async function findMany(
  pool: Pool,
  keys: readonly PrincipalKey[],
): Promise<(StoredPrincipal | undefined)[]> {
  const values = [keys.map((key) => key.namespace), keys.map((key) => key.principalId)];
  const statement = { name: "principals-find", text: FIND, values };
  const { rows } = await pool.query<PrincipalRow & { readonly place: number }>(statement);
  const found = new Map(rows.map(({ place, ...row }) => [place, toStoredPrincipal(row)]));
  return keys.map((_, index) => found.get(index + 1));
}

/** The principals outside of transactions. */
export interface PrincipalStore extends PrincipalReader, PrincipalUpkeep {
  /** Finishes the lookups that wait. */
  close(): Promise<void>;
}

/** Creates the store of principals. */
export function createPrincipalStore(pool: Pool): PrincipalStore {
  const finds: Batcher<PrincipalKey, StoredPrincipal | undefined> = createBatcher({
    name: "principal lookup",
    maxItems: FIND_BATCH_MAX,
    maxDelayMs: 0,
    maxQueued: FIND_QUEUE_MAX,
    concurrency: FIND_CONCURRENCY,
    flush: (keys) => findMany(pool, keys),
  });
  return {
    find: (key) => finds.add(key),
    async list(namespace, page) {
      const [after = ""] = decodePageToken(PAGE_KIND, page.token, ["text"]) ?? [];
      const { rows } = await pool.query<PrincipalRow>(LIST, [namespace, after, page.size + 1]);
      const items = rows
        .slice(0, page.size)
        .map((row) => withoutCredentials(toStoredPrincipal(row)));
      const last = rows.length > page.size ? items.at(-1) : undefined;
      const nextPageToken =
        last === undefined ? "" : encodePageToken(PAGE_KIND, [last.principalId]);
      return { items, nextPageToken };
    },
    async insertIfAbsent(principal) {
      const text = `${INSERT} ON CONFLICT (namespace, principal_id) DO NOTHING`;
      return (await pool.query(text, insertValues(principal))).rowCount === 1;
    },
    async upsertService(principal) {
      const { rows } = await pool.query<{ readonly created: boolean }>(
        UPSERT_SERVICE,
        insertValues(principal),
      );
      const [row] = rows;
      if (row === undefined) return "unchanged";
      return row.created ? "created" : "changed";
    },
    async replacePasswordHash({ namespace, principalId }, from, to) {
      await pool.query(REPLACE_PASSWORD_HASH, [namespace, principalId, from, to]);
    },
    async countPeppers() {
      const { rows } = await pool.query<{ version: number; count: number }>(COUNT_PEPPERS);
      return new Map(rows.map(({ version, count }) => [version, count]));
    },
    close: () => finds.close(),
  };
}

/** Binds the principals to a transaction. */
export function createPrincipalWriter(client: Queryable): PrincipalWriter {
  return {
    async insert(principal) {
      try {
        const text = `${INSERT} RETURNING ${PRINCIPAL_COLUMNS}`;
        const { rows } = await client.query<PrincipalRow>(text, insertValues(principal));
        return onlyRow(rows);
      } catch (error) {
        throw mapPgError(error, CONSTRAINTS);
      }
    },
    async lock({ namespace, principalId }) {
      const { rows } = await client.query<PrincipalRow>(LOCK, [namespace, principalId]);
      const [row] = rows;
      return row === undefined ? undefined : toStoredPrincipal(row);
    },
    async setDisabled({ namespace, principalId }, disabled) {
      const values = [namespace, principalId, disabled];
      const { rows } = await client.query<PrincipalRow>(SET_DISABLED, values);
      return rows.length === 0 ? undefined : onlyRow(rows);
    },
    async replaceSecret({ namespace, principalId }, digest) {
      await client.query(REPLACE_SECRET, [namespace, principalId, digest]);
    },
    async replacePassword({ namespace, principalId }, hash) {
      await client.query(REPLACE_PASSWORD, [namespace, principalId, hash]);
    },
  };
}
