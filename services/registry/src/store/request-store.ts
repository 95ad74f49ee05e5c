/** Which requests were carried out, so that a repetition does nothing. */
import { insertDrafts } from "@nexus/audit";
import { type Pool, type Queryable, withTransaction } from "@nexus/postgres";
import { NexusError } from "@nexus/shared";
import type { RequestStamp } from "../domain/ports.ts";

/** How long a request id is remembered. */
export const REQUEST_MEMORY_MS = 86_400_000;

const PRUNE_ROWS_MAX = 10_000;

/** What a request does when it is new, and what it answers when it was carried out before. */
export interface RequestWork<T> {
  readonly fresh: (tx: Queryable) => Promise<T>;
  readonly repeated: (tx: Queryable) => Promise<T>;
}

/** Carries a request out in one transaction with its entry in the audit log. Of a repetition the entry is left to the server, as of
 * any call that changes nothing.
 *
 * Errors: conflict/REQUEST_ID_REUSED when the id was used for something else; those of the work. */
export async function runRequest<T>(
  pool: Pool,
  request: RequestStamp,
  { fresh, repeated }: RequestWork<T>,
): Promise<T> {
  const { leaf } = request;
  const { value, isNew } = await withTransaction(pool, async (tx) => {
    if (!(await claimRequest(tx, request))) return { value: await repeated(tx), isNew: false };
    const value = await fresh(tx);
    if (leaf !== undefined) await insertDrafts(tx, [leaf.draft()]);
    return { value, isNew: true };
  });
  if (isNew) leaf?.stored();
  return value;
}

/** Notes a request inside the transaction that carries it out; false when it was carried out before.
 *
 * A repetition that runs at the same time waits here for the first one to commit or roll back.
 * Errors: conflict/REQUEST_ID_REUSED when the id was used for something else. */
async function claimRequest(tx: Queryable, request: RequestStamp): Promise<boolean> {
  const { namespace, principalId, requestId, fingerprint } = request;
  const { rowCount } = await tx.query({
    name: "claim-request",
    text: `INSERT INTO requests (namespace, principal_id, request_id, fingerprint) VALUES ($1, $2, $3, $4)
      ON CONFLICT ON CONSTRAINT requests_key DO NOTHING`,
    values: [namespace, principalId, requestId, fingerprint],
  });
  if (rowCount === 1) return true;
  const { rows } = await tx.query<{ same: boolean }>(
    `SELECT fingerprint = $4 AS same FROM requests
     WHERE namespace = $1 AND principal_id = $2 AND request_id = $3`,
    [namespace, principalId, requestId, fingerprint],
  );
  if (rows[0]?.same === true) return false;
  throw new NexusError({
    kind: "conflict",
    reason: "REQUEST_ID_REUSED",
    message: `The request id ${requestId} was used before for another request.`,
  });
}

/** Forgets requests that are old enough; returns how many. */
export async function pruneRequests(pool: Pool): Promise<number> {
  const { rowCount } = await pool.query(
    `DELETE FROM requests WHERE ctid = ANY (ARRAY(
       SELECT ctid FROM requests WHERE created_at < now() - make_interval(secs => $1::float8 / 1000) LIMIT $2))`,
    [REQUEST_MEMORY_MS, PRUNE_ROWS_MAX],
  );
  return rowCount;
}
