/** Ends of attempts that registry and insight have not both acknowledged: a row for each transaction that ended some. */
import type { Queryable } from "@nexus/postgres";
import type { OutcomeBatch, OutcomeGroup } from "../domain/outcome.ts";

const INSERT = {
  name: "outbox-insert",
  text: "INSERT INTO outbox (stream, position, outcomes, data) VALUES ($1, $2, $3, $4)",
};

/** Puts a group into the outbox, inside the transaction that ended its attempts. Cost: 1 statement. */
export async function insertGroup(
  client: Queryable,
  stream: string,
  { position, outcomes, data }: Omit<OutcomeGroup, "createdAtMs">,
): Promise<void> {
  await client.query(INSERT, [stream, position, outcomes, data]);
}

/** Most groups and bytes of one reading. */
export interface OutboxPage {
  readonly groupsMax: number;
  readonly bytesMax: number;
}

/** Cut by the sum of bytes, but never to nothing. */
const READ = {
  name: "outbox-read",
  text: `
    SELECT position, outcomes, data, created_at_ms, found::int
      FROM (SELECT position, outcomes, data, date_part('epoch', created_at) * 1000 AS created_at_ms,
                   sum(octet_length(data)) OVER (ORDER BY position) AS total, count(*) OVER () AS found
              FROM (SELECT position, outcomes, data, created_at
                      FROM outbox WHERE stream = $1 AND position > $2 ORDER BY position LIMIT $3) page
           ) counted
     WHERE total <= $4 OR total = octet_length(data)
     ORDER BY position`,
};

/** Reads groups of a stream after a position, oldest first. */
export async function readOutbox(
  client: Queryable,
  stream: string,
  after: number,
  page: OutboxPage,
): Promise<OutcomeBatch> {
  const { rows } = await client.query<{
    position: string;
    outcomes: number;
    data: Buffer;
    created_at_ms: number;
    found: number;
  }>(READ, [stream, after, page.groupsMax, page.bytesMax]);
  const groups = rows.map(({ position, outcomes, data, created_at_ms: createdAtMs }) => {
    return { position: Number(position), outcomes, data, createdAtMs };
  });
  const found = rows[0]?.found ?? 0;
  return { groups, isLast: groups.length === found && found < page.groupsMax };
}

const DELETE = {
  name: "outbox-delete",
  text: "DELETE FROM outbox WHERE stream = $1 AND position <= $2",
};

/** Deletes groups of a stream up to a position. */
export async function deleteOutbox(client: Queryable, stream: string, upTo: number): Promise<void> {
  await client.query(DELETE, [stream, upTo]);
}

const SPAN = {
  name: "outbox-span",
  text: `
    SELECT min(position) - (SELECT f.outcomes FROM outbox f WHERE f.stream = $1 ORDER BY f.position LIMIT 1) AS before,
           max(position) AS last
      FROM outbox WHERE stream = $1`,
};

/** How many outcomes of a stream are gone from the outbox, and how many there have been; what lies between waits, but for numbers
 * that were left out. */
export interface OutboxSpan {
  readonly before: number;
  readonly last: number;
}

/** Reads what waits of a stream; undefined when nothing does. */
export async function readOutboxSpan(
  client: Queryable,
  stream: string,
): Promise<OutboxSpan | undefined> {
  const { rows } = await client.query<{ before: string | null; last: string | null }>(SPAN, [
    stream,
  ]);
  const { before = null, last = null } = rows[0] ?? {};
  if (before === null || last === null) return undefined;
  return { before: Number(before), last: Number(last) };
}

/** Jumps from stream to stream, whatever the number of rows. */
const ORPHANS = {
  name: "outbox-orphans",
  text: `
    WITH RECURSIVE streams AS (
      (SELECT stream FROM outbox ORDER BY stream LIMIT 1)
      UNION ALL
      SELECT (SELECT o.stream FROM outbox o WHERE o.stream > s.stream ORDER BY o.stream LIMIT 1)
        FROM streams s WHERE s.stream IS NOT NULL
    )
    SELECT s.stream FROM streams s
     WHERE s.stream IS NOT NULL AND NOT EXISTS (SELECT FROM replicas r WHERE r.replica_id = s.stream)
     ORDER BY (SELECT o.created_at FROM outbox o WHERE o.stream = s.stream ORDER BY o.position LIMIT 1)`,
};

/** Lists streams that have something left and whose replica is gone, oldest first. Nothing is added to such a stream: whoever puts
 * a replica out waits for its transactions, and later ones fail. */
export async function readOrphans(client: Queryable): Promise<string[]> {
  const { rows } = await client.query<{ stream: string }>(ORPHANS);
  return rows.map(({ stream }) => stream);
}
