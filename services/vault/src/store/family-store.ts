import { insertDrafts } from "@nexus/audit";
import type { Pool, Queryable, Statement } from "@nexus/postgres";
import { byteaArray, withTransaction } from "@nexus/postgres";
import type { Namespace } from "@nexus/shared";
import { createBatcher } from "@nexus/shared";
import type { FamilyWriter, Issuance, NewFamily, TokenFamilies } from "../domain/ports.ts";
import { withoutCredentials } from "../domain/principal.ts";
import type { RefreshTokenReader } from "../domain/token-introspector.ts";
import { LockedStarts } from "./locked-starts.ts";
import type { PrincipalRow } from "./principal-rows.ts";
import { PRINCIPAL_COLUMNS, toStoredPrincipal } from "./principal-rows.ts";

/** Grants that arrive while one commit runs share the next one. One at a time: of two at once the second would hold half as many, and
 * meet the first wherever both are about one principal. */
const START_BATCH_MAX = 64;
const START_QUEUE_MAX = 2000;
const START_CONCURRENCY = 1;
/** A principal whose row somebody else holds is waited for apart from the others: this long at a time, and this long in all, so that
 * services, which give a grant 5 s, hear why. */
const LOCK_WAIT_MS = 250;
const LOCK_WAIT_MAX_MS = 4_500;
const LOCK_LANES = 2;

/** Database time of an issued token, rounded down so that a revocation of the same millisecond covers it. */
const ISSUED_AT = `date_trunc('milliseconds', clock_timestamp())`;

// The row lock waits for a transaction that disables or revokes the principal, and makes such a one wait for this
// commit; it conflicts with itself so that a flood of grants cannot starve a revocation. `dated` reads the clock from
// locked rows, so a token is dated after it was allowed. Rows are locked in one order, so batches cannot deadlock.
const startText = (lock: string) => `
  WITH wanted AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::bytea[], $6::bigint[],
        $7::bytea[])
      AS w (namespace, principal_id, family_id, credential_version, digest, ttl_ms, draft)
  ), locked AS (
    SELECT p.* FROM principals p
    WHERE (p.namespace, p.principal_id) IN (SELECT w.namespace, w.principal_id FROM wanted w)
      AND NOT p.disabled
    ORDER BY p.namespace, p.principal_id
    FOR NO KEY UPDATE${lock}
  ), dated AS MATERIALIZED (
    SELECT locked.*, ${ISSUED_AT} AS issued_at FROM locked
  ), issued AS MATERIALIZED (
    SELECT ${PRINCIPAL_COLUMNS}, w.family_id AS "familyId", w.digest, w.draft, p.issued_at AS "issuedAt",
      p.issued_at + w.ttl_ms * interval '1 millisecond' AS "refreshExpiresAt"
    FROM dated p JOIN wanted w USING (namespace, principal_id, credential_version)
  ), families AS (
    INSERT INTO token_families (family_id, namespace, principal_id, current_digest, refresh_expires_at)
    SELECT "familyId", namespace, "principalId", digest, "refreshExpiresAt" FROM issued
    WHERE digest IS NOT NULL
  ), entered AS (
    INSERT INTO audit_outbox (draft) SELECT draft FROM issued WHERE draft IS NOT NULL
  )
  SELECT * FROM issued`;
/** For many principals: those whose rows are held come back without a row, as those who may not have a token do. */
const START_FREE = { name: "families-start", text: startText(" SKIP LOCKED") };
/** For one principal, under a lock_timeout: its row is waited for. */
const START_WAITING = { name: "families-start-waiting", text: startText("") };

// One statement is the compare-and-set: two callers with one token meet at the row lock, and the second finds the
// digest changed. The principal's row is locked first, as by every other issuance: what changes the principal, or takes
// something from it, is waited for and then read, and the token is dated after it. Unlike a grant, a refresh holds a connection
// for as long as it waits, up to the statement's time.
const ROTATE = `
  WITH before AS (
    SELECT family_id, namespace, principal_id, refresh_expires_at FROM token_families
    WHERE current_digest = $1
  ), locked AS MATERIALIZED (
    SELECT p.* FROM principals p
    WHERE (p.namespace, p.principal_id) IN (SELECT b.namespace, b.principal_id FROM before b)
      AND NOT p.disabled
    FOR NO KEY UPDATE
  ), rotated AS (
    UPDATE token_families f
    SET current_digest = $2, refresh_expires_at = ${ISSUED_AT} + $3 * interval '1 millisecond'
    FROM locked p, before
    WHERE f.current_digest = $1 AND f.family_id = before.family_id
      AND f.revoked_at IS NULL AND f.refresh_expires_at > clock_timestamp()
    RETURNING ${PRINCIPAL_COLUMNS}, f.family_id AS "familyId", ${ISSUED_AT} AS "issuedAt",
      f.refresh_expires_at AS "refreshExpiresAt", before.refresh_expires_at AS spent_expires_at
  ), spent AS (
    INSERT INTO spent_refresh_tokens (token_digest, family_id, namespace, expires_at)
    SELECT $1, "familyId", namespace, spent_expires_at FROM rotated
  )
  SELECT * FROM rotated`;

// The same locks in the same order, and nothing changes but them: the family's live token stays the live one.
const REPEAT = `
  WITH spent AS (
    SELECT family_id, namespace FROM spent_refresh_tokens
    WHERE token_digest = $1 AND expires_at > clock_timestamp()
      AND spent_at > clock_timestamp() - $3 * interval '1 millisecond'
  ), locked AS MATERIALIZED (
    SELECT p.* FROM principals p
    WHERE (p.namespace, p.principal_id) IN (
        SELECT f.namespace, f.principal_id FROM token_families f JOIN spent USING (family_id))
      AND NOT p.disabled
    FOR NO KEY UPDATE
  ), live AS MATERIALIZED (
    SELECT f.* FROM token_families f JOIN locked p USING (namespace, principal_id)
    WHERE f.family_id IN (SELECT s.family_id FROM spent s)
      AND f.current_digest = $2 AND f.revoked_at IS NULL
      AND f.refresh_expires_at > clock_timestamp()
    FOR NO KEY UPDATE OF f
  )
  SELECT ${PRINCIPAL_COLUMNS}, f.family_id AS "familyId", ${ISSUED_AT} AS "issuedAt",
    f.refresh_expires_at AS "refreshExpiresAt"
  FROM live f JOIN locked p USING (namespace, principal_id)`;

const FIND_LIVE = `
  SELECT ${PRINCIPAL_COLUMNS}, f.family_id AS "familyId", f.refresh_expires_at AS "refreshExpiresAt"
  FROM token_families f JOIN principals p USING (namespace, principal_id)
  WHERE f.current_digest = $1 AND f.revoked_at IS NULL AND NOT p.disabled
    AND f.refresh_expires_at > clock_timestamp()`;

const FIND_SPENT = `
  SELECT namespace, family_id AS "familyId" FROM spent_refresh_tokens
  WHERE token_digest = $1 AND expires_at > clock_timestamp()`;

const REVOKE = `
  UPDATE token_families SET revoked_at = clock_timestamp()
  WHERE family_id = $2 AND namespace = $1 AND revoked_at IS NULL`;

const REVOKE_ALL = `
  UPDATE token_families SET revoked_at = clock_timestamp()
  WHERE namespace = $1 AND principal_id = $2 AND family_id IS DISTINCT FROM $3 AND revoked_at IS NULL`;

const REVOKE_NAMESPACE = `
  UPDATE token_families SET revoked_at = clock_timestamp()
  WHERE namespace = $1 AND revoked_at IS NULL`;

interface IssuanceRow extends PrincipalRow {
  readonly familyId: string;
  readonly issuedAt: Date;
  readonly refreshExpiresAt: Date | null;
}

function toIssuance(row: IssuanceRow): Issuance {
  return {
    principal: withoutCredentials(toStoredPrincipal(row)),
    familyId: row.familyId,
    issuedAtMs: row.issuedAt.getTime(),
    refreshExpiresAtMs: row.refreshExpiresAt?.getTime(),
  };
}

async function startMany(
  client: Queryable,
  statement: Statement,
  families: readonly NewFamily[],
): Promise<(Issuance | undefined)[]> {
  const values = [
    families.map((family) => family.namespace),
    families.map((family) => family.principalId),
    families.map((family) => family.familyId),
    families.map((family) => family.credentialVersion),
    families.map((family) => family.refresh?.digest ?? null),
    families.map((family) => family.refresh?.ttlMs ?? null),
    byteaArray(families.map((family) => family.leaf?.draft() ?? null)),
  ];
  const { rows } = await client.query<IssuanceRow>({ ...statement, values });
  const byFamily = new Map(rows.map((row) => [row.familyId, toIssuance(row)]));
  return families.map((family) => byFamily.get(family.familyId));
}

/** Errors: conflict/LOCK_NOT_AVAILABLE when the principal's row is held for longer than LOCK_WAIT_MS. */
function startWaiting(pool: Pool, families: readonly NewFamily[]) {
  return withTransaction(pool, async (client) => {
    await client.query(`SET LOCAL lock_timeout = ${LOCK_WAIT_MS}`);
    return startMany(client, START_WAITING, families);
  });
}

/** The token families outside of transactions. */
export interface FamilyStore extends TokenFamilies, RefreshTokenReader {
  /** Finishes the grants that wait. */
  close(): Promise<void>;
}

/** Creates the store of token families. Concurrent starts share one commit. */
export function createFamilyStore(pool: Pool): FamilyStore {
  const starts = createBatcher<NewFamily, Issuance | undefined>({
    name: "token grant",
    maxItems: START_BATCH_MAX,
    maxDelayMs: 0,
    maxQueued: START_QUEUE_MAX,
    concurrency: START_CONCURRENCY,
    flush: (families) => startMany(pool, START_FREE, families),
  });
  const locked = new LockedStarts({
    start: (families) => startWaiting(pool, families),
    nowMs: () => performance.now(),
    // One connection at least is left for everything else.
    lanes: Math.min(LOCK_LANES, pool.stats().max - 1),
    maxQueued: START_QUEUE_MAX,
    maxItems: START_BATCH_MAX,
    giveUpMs: LOCK_WAIT_MAX_MS,
  });
  return {
    async start(family) {
      const issuance = (await starts.add(family)) ?? (await locked.add(family));
      if (issuance !== undefined) family.leaf?.stored();
      return issuance;
    },
    async rotate(spent, next, leaf) {
      const statement = {
        name: "families-rotate",
        text: ROTATE,
        values: [spent, next.digest, next.ttlMs],
      };
      const issuance = await withTransaction(pool, async (client) => {
        const { rows } = await client.query<IssuanceRow>(statement);
        const rotated = rows[0] === undefined ? undefined : toIssuance(rows[0]);
        if (rotated !== undefined && leaf !== undefined) {
          // Only the row says whose token it was.
          const { namespace, principalId, kind } = rotated.principal;
          leaf.note({ namespace, actor: principalId, actorKind: kind });
          await insertDrafts(client, [leaf.draft()]);
        }
        return rotated;
      });
      if (issuance !== undefined) leaf?.stored();
      return issuance;
    },
    async repeat(spent, next) {
      if (next.graceMs === 0) return undefined;
      const { rows } = await pool.query<IssuanceRow>(REPEAT, [spent, next.digest, next.graceMs]);
      const [row] = rows;
      return row === undefined ? undefined : toIssuance(row);
    },
    async findLive(digest) {
      const { rows } = await pool.query<IssuanceRow>(FIND_LIVE, [digest]);
      const [row] = rows;
      if (row === undefined) return undefined;
      return {
        principal: withoutCredentials(toStoredPrincipal(row)),
        familyId: row.familyId,
        expiresAtMs: row.refreshExpiresAt?.getTime() ?? 0,
      };
    },
    async close() {
      await starts.close();
      await locked.close();
    },
  };
}

/** Binds the token families to a transaction. */
export function createFamilyWriter(client: Queryable): FamilyWriter {
  return {
    async findSpent(digest) {
      const { rows } = await client.query<{ namespace: Namespace; familyId: string }>(FIND_SPENT, [
        digest,
      ]);
      return rows[0];
    },
    async revoke(namespace, familyId) {
      await client.query(REVOKE, [namespace, familyId]);
    },
    async revokeAllOf({ namespace, principalId }, butFamilyId) {
      await client.query(REVOKE_ALL, [namespace, principalId, butFamilyId ?? null]);
    },
    async revokeNamespace(namespace) {
      await client.query(REVOKE_NAMESPACE, [namespace]);
    },
  };
}
