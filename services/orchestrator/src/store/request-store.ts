/** Idempotency of mutations: which request made what, for 24 hours. */
import { insertDrafts } from "@nexus/audit";
import type { Queryable } from "@nexus/postgres";
import type { AuditLeaf } from "../domain/job.ts";
import { REFUSALS } from "./refusals.ts";
import { jobUuid, toJobId } from "./row-ids.ts";
import { toBuffer } from "./task-insert.ts";

/** The mutations that are idempotent by request id. */
export type RequestMethod =
  | "SubmitJob"
  | "CancelJob"
  | "PauseJob"
  | "ResumeJob"
  | "RetryJob"
  | "ReplayJob"
  | "RedriveDeadLetters";

/** A mutation as asked for. */
export interface RequestRecord {
  readonly namespace: string;
  readonly principalId: string;
  readonly requestId: string;
  readonly method: RequestMethod;
  readonly bodyHash: Uint8Array;
  readonly jobId: string;
  /** The call's entry in the audit log. */
  readonly entryId: string | undefined;
}

/** What an earlier call with the same id did. */
export interface EarlierRequest {
  readonly method: string;
  readonly bodyHash: Uint8Array;
  readonly jobId: string;
  /** Of the call that did it. */
  readonly entryId: string | undefined;
}

const INSERT = {
  name: "requests-insert",
  text: `
    INSERT INTO requests (namespace, principal_id, request_id, method, body_hash, job_id, entry_id)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::uuid[], $7::uuid[])
        ON CONFLICT ON CONSTRAINT requests_pkey DO NOTHING
    RETURNING namespace, principal_id, request_id`,
};

/** As INSERT, for a transaction of which nothing is to be stored when some of its requests are repeats. */
const INSERT_NEW = {
  name: "requests-insert-new",
  text: `
    WITH made AS (${INSERT.text})
    SELECT refuse_unless(count(*) = $8::int, '${REFUSALS.repeated}') FROM made`,
};

const FIND = {
  name: "requests-find",
  text: `
    SELECT r.namespace, r.principal_id, r.request_id, r.method, r.body_hash, r.job_id,
           r.entry_id
      FROM requests r
      JOIN unnest($1::text[], $2::text[], $3::text[]) AS k(namespace, principal_id, request_id)
     USING (namespace, principal_id, request_id)`,
};

interface KeyRow {
  readonly namespace: string;
  readonly principal_id: string;
  readonly request_id: string;
}

interface RequestRow extends KeyRow {
  readonly method: string;
  readonly body_hash: Uint8Array;
  readonly job_id: string;
  readonly entry_id: string | null;
}

/** Identifies a request among those of one batch. */
export function requestKey(request: {
  readonly namespace: string;
  readonly principalId: string;
  readonly requestId: string;
}): string {
  return JSON.stringify([request.namespace, request.principalId, request.requestId]);
}

function rowKey(row: KeyRow): string {
  return JSON.stringify([row.namespace, row.principal_id, row.request_id]);
}

/** Records requests (each key once) and returns the earlier ones whose id is taken, by requestKey.
 *
 * Cost: 1 statement, 2 when an id is taken, none for no requests. */
export async function recordRequests(
  client: Queryable,
  requests: readonly RequestRecord[],
): Promise<Map<string, EarlierRequest>> {
  if (requests.length === 0) return new Map();
  const { rows } = await client.query<KeyRow>(INSERT, columnsOf(requests));
  if (rows.length === requests.length) return new Map();
  const inserted = new Set(rows.map(rowKey));
  return findRequests(
    client,
    requests.filter((request) => !inserted.has(requestKey(request))),
  );
}

/** Records requests (each key once) of which none was made before; otherwise the database ends the transaction (REFUSALS.repeated).
 *
 * Cost: 1 statement, none for no requests. */
export async function recordNewRequests(
  client: Queryable,
  requests: readonly RequestRecord[],
): Promise<void> {
  if (requests.length === 0) return;
  await client.query(INSERT_NEW, [...columnsOf(requests), requests.length]);
}

function columnsOf(requests: readonly RequestRecord[]): unknown[] {
  return [
    requests.map((request) => request.namespace),
    requests.map((request) => request.principalId),
    requests.map((request) => request.requestId),
    requests.map((request) => request.method),
    requests.map((request) => toBuffer(request.bodyHash)),
    requests.map((request) => jobUuid(request.jobId)),
    requests.map((request) => request.entryId ?? null),
  ];
}

/** Reads what was made by requests with these keys, by requestKey. Cost: 1 statement. */
export async function findRequests(
  client: Queryable,
  requests: readonly Pick<RequestRecord, "namespace" | "principalId" | "requestId">[],
): Promise<Map<string, EarlierRequest>> {
  const { rows } = await client.query<RequestRow>(FIND, [
    requests.map((request) => request.namespace),
    requests.map((request) => request.principalId),
    requests.map((request) => request.requestId),
  ]);
  return new Map(
    rows.map((row) => [
      rowKey(row),
      {
        method: row.method,
        bodyHash: row.body_hash,
        jobId: toJobId(row.job_id),
        entryId: row.entry_id ?? undefined,
      },
    ]),
  );
}

/** Enters what requests do into the audit log, in the transaction that does it.
 *
 * Cost: 1 statement, none for no entries. */
export async function enterLeaves(
  client: Queryable,
  leaves: readonly (AuditLeaf | undefined)[],
): Promise<void> {
  await insertDrafts(
    client,
    leaves.flatMap((leaf) => (leaf === undefined ? [] : [leaf.draft()])),
  );
}

const DELETE_OLD = {
  name: "requests-delete-old",
  text: `
    DELETE FROM requests
     WHERE (namespace, principal_id, request_id) IN (
       SELECT namespace, principal_id, request_id FROM requests
        WHERE created_at < now() - $1::bigint * interval '1 millisecond'
        ORDER BY created_at LIMIT $2)`,
};

/** Deletes requests older than this, at most `limit`; returns how many. */
export async function deleteOldRequests(
  client: Queryable,
  olderThanMs: number,
  limit: number,
): Promise<number> {
  const { rowCount } = await client.query(DELETE_OLD, [olderThanMs, limit]);
  return rowCount;
}
