/** Dead messages in Postgres. */
import { decodePageToken, encodePageToken, type Pool, type Queryable } from "@nexus/postgres";
import { NexusError } from "@nexus/shared";
import type {
  DeadMessage,
  DeadMessageFilter,
  DeadMessageOrder,
  DeadMessageStore,
  RequestName,
} from "../domain/mail/dead-message.ts";
import type { DeathReason } from "../domain/mail/mail.ts";
import { withLeaf } from "./audited.ts";
import { MAIL_CHANNEL } from "./mail-store.ts";

const PAGE_KIND = "dead-messages";

/** Over parameters that begin at $1, the namespace. */
const CHOSEN = `
      d.namespace = $1 AND ($2::bigint[] IS NULL OR d.dead_message_id = ANY ($2))
  AND ($3::text IS NULL OR d.agent_id = $3) AND ($4::text IS NULL OR d.sender = $4)
  AND ($5::text IS NULL OR d.reason = $5)`;

const LIST = `
SELECT d.*
  FROM dead_messages d
 WHERE ${CHOSEN} AND ($6::boolean OR d.redelivered_at IS NULL)
   AND ($7::bigint IS NULL OR d.dead_message_id < $7)
 ORDER BY d.dead_message_id DESC
 LIMIT $8`;

const GET = "SELECT * FROM dead_messages WHERE namespace = $1 AND dead_message_id = $2";

const FIND_REQUEST = `
SELECT dead_message_id, redeliver_body FROM dead_messages
 WHERE redeliver_request = $1::uuid ORDER BY dead_message_id`;

const REDELIVER = `
WITH chosen AS (
  SELECT d.dead_message_id, d.died_at, d.mailbox_id, d.sender, d.envelope, d.ack_wait_ms
    FROM dead_messages d
   WHERE ${CHOSEN} AND d.redelivered_at IS NULL
   ORDER BY d.dead_message_id
   LIMIT $6
     FOR UPDATE
), back AS (
  INSERT INTO mail (mailbox_id, sender, envelope, expires_at, ack_wait_ms)
  SELECT mailbox_id, sender, envelope, now() + interval '24 hours', ack_wait_ms
    FROM chosen ORDER BY dead_message_id
)
UPDATE dead_messages d
   SET redelivered_at = now(), redeliver_request = $7::uuid, redeliver_body = $8
  FROM chosen c
 WHERE d.dead_message_id = c.dead_message_id AND d.died_at = c.died_at
RETURNING d.dead_message_id, d.mailbox_id`;

const PURGE = `
DELETE FROM dead_messages d
 USING (SELECT d.dead_message_id, d.died_at FROM dead_messages d
         WHERE ${CHOSEN} ORDER BY d.dead_message_id LIMIT $6) c
 WHERE d.dead_message_id = c.dead_message_id AND d.died_at = c.died_at`;

interface DeadRow {
  readonly dead_message_id: string;
  readonly agent_id: string;
  readonly sender: string;
  readonly envelope: Buffer;
  readonly reason: DeathReason;
  readonly message: string;
  readonly failures: number;
  readonly died_at: Date;
  readonly redelivered_at: Date | null;
}

/** Creates the store. */
export function createDeadMessageStore(pool: Pool): DeadMessageStore {
  return {
    list: async ({ namespace, filter, includeRedelivered, pageSize, pageToken }) => {
      const [before] = decodePageToken(PAGE_KIND, pageToken, ["bigint"]) ?? [null];
      const values = [...filterValues(namespace, filter), includeRedelivered, before, pageSize + 1];
      const { rows } = await pool.query<DeadRow>(LIST, values);
      const messages = rows.slice(0, pageSize).map(toDeadMessage);
      const last = messages.at(-1);
      const more = rows.length > pageSize && last !== undefined;
      const nextPageToken = more ? encodePageToken(PAGE_KIND, [last.id.toString()]) : "";
      return { messages, nextPageToken };
    },
    get: async (namespace, id) => {
      const { rows } = await pool.query<DeadRow>(GET, [namespace, id.toString()]);
      return rows[0] === undefined ? undefined : toDeadMessage(rows[0]);
    },
    redeliver: (order, request) =>
      withLeaf(pool, order.leaf, (client) => redeliver(client, order, request)),
    purge: (order) =>
      withLeaf(pool, order.leaf, async (client) => {
        const { rowCount } = await client.query(PURGE, orderValues(order));
        return { value: rowCount, isRepeat: false };
      }),
  };
}

/** Two calls with one id come one after the other, so that the second finds what the first did. */
async function redeliver(
  client: Queryable,
  order: DeadMessageOrder,
  { key, bodyHash }: RequestName,
): Promise<{ readonly value: readonly bigint[]; readonly isRepeat: boolean }> {
  await client.query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", [key]);
  const earlier = await client.query<{ dead_message_id: string; redeliver_body: string }>(
    FIND_REQUEST,
    [key],
  );
  if (earlier.rows.some((row) => BigInt(row.redeliver_body) !== bodyHash)) throw reused();
  if (earlier.rows.length > 0) {
    return { value: earlier.rows.map((row) => BigInt(row.dead_message_id)), isRepeat: true };
  }
  const { rows } = await client.query<{ dead_message_id: string; mailbox_id: string }>(REDELIVER, [
    ...orderValues(order),
    key,
    bodyHash.toString(),
  ]);
  const mailboxes = [...new Set(rows.map((row) => row.mailbox_id))];
  if (mailboxes.length > 0) {
    await client.query("SELECT pg_notify($1, $2)", [MAIL_CHANNEL, mailboxes.join(",")]);
  }
  const value = rows.map((row) => BigInt(row.dead_message_id)).sort((a, b) => (a < b ? -1 : 1));
  return { value, isRepeat: false };
}

function reused(): NexusError {
  return new NexusError({
    kind: "conflict",
    reason: "REQUEST_ID_REUSED",
    message: "This request id was used before to redeliver other messages.",
  });
}

function filterValues(namespace: string, filter: DeadMessageFilter): unknown[] {
  const { toAgentId, from, reason } = filter;
  return [namespace, null, toAgentId ?? null, from ?? null, reason ?? null];
}

function orderValues({ namespace, choice, limit }: DeadMessageOrder): unknown[] {
  if (choice.kind === "filter") return [...filterValues(namespace, choice.filter), limit];
  return [namespace, choice.ids.map(String), null, null, null, limit];
}

function toDeadMessage(row: DeadRow): DeadMessage {
  return {
    id: BigInt(row.dead_message_id),
    toAgentId: row.agent_id,
    from: row.sender,
    envelope: row.envelope,
    reason: row.reason,
    text: row.message,
    failures: row.failures,
    diedAt: row.died_at,
    redeliveredAt: row.redelivered_at ?? undefined,
  };
}
