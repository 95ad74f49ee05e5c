import { insertDrafts } from "@nexus/audit";
import type { Pool, Queryable } from "@nexus/postgres";
import { together, withTransaction } from "@nexus/postgres";
import { requestIdReused } from "../domain/errors.ts";
import type {
  Answer,
  AuditLeaf,
  Mutations,
  RequestKey,
  Transaction,
  Transactions,
} from "../domain/ports.ts";
import { createAccessWriter } from "./access-writer.ts";
import { createAlertWriter } from "./alert-store.ts";
import { createAuthorityWriter } from "./authority-store.ts";
import { createFamilyWriter } from "./family-store.ts";
import { createLoginFailureWriter } from "./login-failure-store.ts";
import { createNamedKeyWriter } from "./named-key-writer.ts";
import { createPrincipalWriter } from "./principal-store.ts";
import { createRevocationWriter } from "./revocation-store.ts";
import { createSecretLeaseWriter } from "./secret-lease-store.ts";
import { createSecretWriter } from "./secret-writer.ts";
import { createSigningKeyWriter } from "./signing-key-store.ts";

/** A request id is remembered for this long; the contracts promise it. */
export const REQUEST_RETENTION = "24 hours";

const FIND = `
  SELECT body_digest AS "bodyDigest", answer FROM requests
  WHERE namespace = $1 AND principal_id = $2 AND request_id = $3
    AND created_at > clock_timestamp() - interval '${REQUEST_RETENTION}'`;

// A second call with the id waits here for the first one's commit, and then claims nothing. An id that has ended is
// claimed anew.
const CLAIM = `
  INSERT INTO requests AS r (namespace, principal_id, request_id, body_digest)
  VALUES ($1, $2, $3, $4)
  ON CONFLICT (namespace, principal_id, request_id) DO UPDATE
    SET body_digest = excluded.body_digest, answer = NULL, created_at = now()
    WHERE r.created_at <= clock_timestamp() - interval '${REQUEST_RETENTION}'`;

const ANSWER = `
  UPDATE requests SET answer = $4
  WHERE namespace = $1 AND principal_id = $2 AND request_id = $3`;

interface RequestRow {
  readonly bodyDigest: Buffer;
  readonly answer: unknown;
}

function keyValues({ caller, requestId }: RequestKey): readonly unknown[] {
  return [caller.namespace, caller.principalId, requestId];
}

async function findAnswer<T>(client: Queryable, key: RequestKey): Promise<Answer<T> | undefined> {
  const { rows } = await client.query<RequestRow>(FIND, keyValues(key));
  const [row] = rows;
  if (row === undefined) return undefined;
  if (!row.bodyDigest.equals(key.bodyDigest)) throw requestIdReused();
  return { value: row.answer as T, replayed: true };
}

/** Encodes the entry of work that no call asked for. */
export type SystemEntry = (
  action: string,
  facts: { readonly namespace: string; readonly resource: string },
) => Uint8Array;

function bind(client: Queryable, systemEntry: SystemEntry): Transaction {
  return {
    audit: { enter: (action, facts) => insertDrafts(client, [systemEntry(action, facts)]) },
    principals: createPrincipalWriter(client),
    families: createFamilyWriter(client),
    loginFailures: createLoginFailureWriter(client),
    revocations: createRevocationWriter(client),
    signingKeys: createSigningKeyWriter(client),
    authorities: createAuthorityWriter(client),
    keys: createNamedKeyWriter(client),
    secrets: createSecretWriter(client),
    secretLeases: createSecretLeaseWriter(client),
    access: createAccessWriter(client),
    alerts: createAlertWriter(client),
  };
}

async function runOnce<T>(
  client: Queryable,
  key: RequestKey,
  work: () => Promise<T>,
): Promise<Answer<T>> {
  const claimed = await client.query(CLAIM, [...keyValues(key), key.bodyDigest]);
  if (claimed.rowCount === 0) {
    const earlier = await findAnswer<T>(client, key);
    if (earlier !== undefined) return earlier;
  }
  const value = await work();
  await together(
    client.query(ANSWER, [...keyValues(key), JSON.stringify(value)]),
    insertLeaf(client, key.audit),
  );
  return { value, replayed: false };
}

async function insertLeaf(client: Queryable, leaf: AuditLeaf | undefined): Promise<void> {
  if (leaf !== undefined) await insertDrafts(client, [leaf.draft()]);
}

/** Creates transactions over all tables of vault. */
export function createTransactions(pool: Pool, systemEntry: SystemEntry): Transactions {
  return {
    async run(work, leaf) {
      const value = await withTransaction(pool, async (client) => {
        const done = await work(bind(client, systemEntry));
        await insertLeaf(client, leaf);
        return done;
      });
      leaf?.stored();
      return value;
    },
  };
}

/** Creates mutations that happen once per request id and caller. */
export function createMutations(pool: Pool, systemEntry: SystemEntry): Mutations {
  return {
    replay: (key) => findAnswer(pool, key),
    async run(key, work) {
      const answer = await withTransaction(pool, (client) =>
        runOnce(client, key, () => work(bind(client, systemEntry))),
      );
      // What a retry gets was stored by the first call; its own entry is written like that of a reading.
      if (!answer.replayed) key.audit?.stored();
      return answer;
    },
  };
}
