/** The statements of mail-store. Each takes a whole batch; time is the database's. */

/** Makes mailboxes only for agents that are known, here or by a session that they once had. */
export const MAKE_MAILBOXES = `
INSERT INTO mailboxes (namespace, agent_id)
SELECT t.namespace, t.agent_id
FROM unnest($1::text[], $2::text[], $3::boolean[]) AS t(namespace, agent_id, known)
WHERE (t.known OR EXISTS (
    SELECT FROM sessions s WHERE s.namespace = t.namespace AND s.agent_id = t.agent_id))
  AND NOT EXISTS (
    SELECT FROM mailboxes m WHERE m.namespace = t.namespace AND m.agent_id = t.agent_id)
ORDER BY t.namespace, t.agent_id
ON CONFLICT DO NOTHING`;

export const FIND_MAILBOXES = `
SELECT m.mailbox_id, m.namespace, m.agent_id
FROM mailboxes m JOIN unnest($1::text[], $2::text[]) AS t(namespace, agent_id) USING (namespace, agent_id)`;

export const COUNT_MAIL = {
  name: "mail-count",
  text: `
SELECT t.mailbox_id, (SELECT count(*) FROM mail m WHERE m.mailbox_id = t.mailbox_id)::int AS depth
FROM unnest($1::bigint[]) AS t(mailbox_id)`,
};

/** Statistics of a queue are of another moment: it was empty then, or full. So plans are by key, whatever they say. A bitmap finds by key
 * too, but all of a mailbox, to sort it for the first few. */
export const PLAN_BY_KEY = {
  name: "plan-by-key",
  text: `
SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
       set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
       set_config('plan_cache_mode', 'force_generic_plan', true)`,
};

/** After midnight ids are entered under the day before as well, for longer than a transaction can take: its statements are fewer than ten, and
 * none may take more than 5 min (the limit of NEXUS_MESH_ROUTER_STATEMENT_TIMEOUT_MS). */
const NIGHT = "interval '1 hour'";

/** Fails when an id was stored before (23505). One of yesterday is in another partition, whose unique index says nothing about today's: it is
 * entered there once more, and so refused; LIMIT has each be looked up by its key, however empty the day looked when that was planned. Where it was found it is locked against being dropped, and the day is that of the transaction. In
 * the order of keys, so that two replicas that store the same ids wait for each other and do not deadlock.
 *
 * What a transaction of the day before has not committed yet cannot be seen, and a slow one may follow those of today: until neither can be, an
 * id meets it in that day's index. Later `night` is never entered. */
export const NOTE_IDS = {
  name: "mail-note-ids",
  text: `
WITH night AS (
  INSERT INTO message_ids (day, key, body_hash)
  SELECT (now() AT TIME ZONE 'utc')::date - 1, t.key, t.body_hash
  FROM unnest($1::uuid[], $2::bigint[]) AS t(key, body_hash)
  WHERE (now() AT TIME ZONE 'utc')::time < time '00:00' + ${NIGHT}
  ORDER BY t.key
)
INSERT INTO message_ids (day, key, body_hash)
SELECT coalesce(i.day, (now() AT TIME ZONE 'utc')::date), t.key, t.body_hash
FROM unnest($1::uuid[], $2::bigint[]) AS t(key, body_hash)
LEFT JOIN LATERAL (
  SELECT i.day FROM message_ids i WHERE i.key = t.key AND i.day = (now() AT TIME ZONE 'utc')::date - 1 LIMIT 1
) i ON true
ORDER BY t.key`,
};

export const FIND_IDS = {
  name: "mail-find-ids",
  text: `
SELECT t.key::text AS key, i.body_hash
FROM unnest($1::uuid[]) AS t(key)
CROSS JOIN LATERAL (
  SELECT i.body_hash FROM message_ids i
  WHERE i.key = t.key AND i.day >= (now() AT TIME ZONE 'utc')::date - 1 LIMIT 1
) i`,
};

export const INSERT_MAIL = {
  name: "mail-insert",
  text: `
INSERT INTO mail (mailbox_id, sender, envelope, expires_at, ack_wait_ms)
SELECT t.mailbox_id, t.sender, t.envelope, now() + t.ttl_ms * interval '1 millisecond', t.ack_wait_ms
FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::bigint[], $5::int[])
  WITH ORDINALITY AS t(mailbox_id, sender, envelope, ttl_ms, ack_wait_ms, position)
ORDER BY t.position
RETURNING seq`,
};

/** As INSERT_MAIL, for messages to many: each is sent to the database once, with the part of all mailboxes that it is for, not once for each. */
export const INSERT_MAIL_TO_MANY = {
  name: "mail-insert-to-many",
  text: `
INSERT INTO mail (mailbox_id, sender, envelope, expires_at, ack_wait_ms)
SELECT r.mailbox_id, t.sender, t.envelope, now() + t.ttl_ms * interval '1 millisecond', t.ack_wait_ms
FROM unnest($2::text[], $3::bytea[], $4::bigint[], $5::int[], $6::int[], $7::int[])
  WITH ORDINALITY AS t(sender, envelope, ttl_ms, ack_wait_ms, first, last, position),
  LATERAL unnest(($1::bigint[])[t.first:t.last]) WITH ORDINALITY AS r(mailbox_id, place)
ORDER BY t.position, r.place
RETURNING seq`,
};

/** The row of mail that t names, as a range of one: rows that are equal may be joined from either side, and when the table was empty at its last
 * vacuum it is, walked as a whole and compared with each of t. A range can only be looked up. */
const ROW_OF_T =
  "(m.mailbox_id, m.seq) >= (t.mailbox_id, t.seq) AND (m.mailbox_id, m.seq) <= (t.mailbox_id, t.seq)";

export const DELETE_MAIL = {
  name: "mail-delete",
  text: `
DELETE FROM mail m USING unnest($1::bigint[], $2::bigint[]) AS t(mailbox_id, seq)
WHERE ${ROW_OF_T}`,
};

/** The receiver's session by its row, for one mailbox after the other. */
const sessionOfT = (condition: string): string => `
CROSS JOIN LATERAL (
  SELECT FROM mailboxes b JOIN sessions s USING (namespace, agent_id)
  WHERE b.mailbox_id = t.mailbox_id AND ${condition} LIMIT 1
) owner`;

/** Counts only grow. A replica that the session went away from says nothing: the agent may be at work on it. What an epoch that is over
 * held was lost with it, whichever replica says so. */
export const NOTE_FAILURES = {
  name: "mail-note-failures",
  text: `
UPDATE mail m SET failures = t.failures, due_at = now() + t.delay_ms * interval '1 millisecond'
FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::bigint[], $5::bigint[])
  AS t(mailbox_id, seq, failures, delay_ms, epoch)
${sessionOfT("(s.epoch > t.epoch OR s.epoch = t.epoch AND s.router_id = $6)")}
WHERE ${ROW_OF_T} AND m.failures < t.failures`,
};

/** A row that is gone already, by time or by a word from elsewhere, makes no dead message. Only who has the receiver's session gives up.
 * Says which rows it took. */
export const BURY_MAIL = {
  name: "mail-bury",
  text: `
WITH gone AS (
  DELETE FROM mail m
  USING unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::text[], $5::text[], $6::bigint[])
    AS t(mailbox_id, seq, failures, reason, message, epoch)
  ${sessionOfT("s.epoch = t.epoch AND s.router_id = $7")}
  WHERE ${ROW_OF_T}
  RETURNING m.mailbox_id, m.seq, m.sender, m.envelope, m.ack_wait_ms, t.failures, t.reason, t.message
), buried AS (
  INSERT INTO dead_messages (namespace, mailbox_id, agent_id, sender, envelope, ack_wait_ms, failures, reason, message)
  SELECT b.namespace, g.mailbox_id, b.agent_id, g.sender, g.envelope, g.ack_wait_ms, g.failures, g.reason, g.message
  FROM gone g JOIN mailboxes b USING (mailbox_id)
)
SELECT seq FROM gone`,
};

/** Mail whose receiver did not come in time. That of agents with a session is given up by the replica that reads it. */
export const BURY_EXPIRED = {
  name: "mail-bury-expired",
  text: `
WITH gone AS (
  DELETE FROM mail m
  USING (SELECT x.mailbox_id, x.seq FROM mail x JOIN mailboxes b USING (mailbox_id)
         WHERE x.expires_at <= now() AND NOT EXISTS (
           SELECT FROM sessions s WHERE s.namespace = b.namespace AND s.agent_id = b.agent_id AND s.live)
         ORDER BY x.expires_at LIMIT $1 FOR UPDATE OF x SKIP LOCKED) AS t
  WHERE m.mailbox_id = t.mailbox_id AND m.seq = t.seq
  RETURNING m.*
)
INSERT INTO dead_messages (namespace, mailbox_id, agent_id, sender, envelope, ack_wait_ms, failures, reason, message)
SELECT b.namespace, g.mailbox_id, b.agent_id, g.sender, g.envelope, g.ack_wait_ms, g.failures, 'EXPIRED', 'nobody took it in time'
FROM gone g JOIN mailboxes b USING (mailbox_id)`,
};

/** What memory has is left out by a hash of it: as a list it would be walked for every row. The bytes of a message are known without reading
 * it; of those that find no room only the number comes. */
export const LOAD_MAIL = {
  name: "mail-load",
  text: `
WITH found AS (
  SELECT t.mailbox_id, m.seq, m.nth, m.bytes
  FROM unnest($1::bigint[]) AS t(mailbox_id)
  CROSS JOIN LATERAL (
    SELECT x.seq, octet_length(x.envelope) AS bytes, row_number() OVER (ORDER BY x.seq) AS nth
    FROM mail x WHERE x.mailbox_id = t.mailbox_id AND x.seq NOT IN (SELECT unnest($2::bigint[]))
    ORDER BY x.seq LIMIT $3
  ) m
), sized AS (
  SELECT f.mailbox_id, f.seq, sum(f.bytes) OVER (ORDER BY f.nth, f.mailbox_id) - f.bytes AS before FROM found f
)
SELECT s.mailbox_id, s.seq, m.sender, m.envelope, m.ack_wait_ms, m.failures,
  (extract(epoch FROM m.expires_at - now()) * 1000)::float8 AS left_ms,
  (extract(epoch FROM m.due_at - now()) * 1000)::float8 AS due_in_ms
FROM sized s
LEFT JOIN LATERAL (
  SELECT x.* FROM mail x WHERE s.before < $4::bigint AND x.mailbox_id = s.mailbox_id AND x.seq = s.seq LIMIT 1
) m ON true
ORDER BY s.mailbox_id, s.seq`,
};

/** Tells other replicas which mailboxes got mail. */
export const NOTIFY_MAIL = { name: "mail-notify", text: "SELECT pg_notify($1, $2)" };

/** Alone in its transaction. What the end of the table holds is not given back to the file system: writers would wait for that. */
export const VACUUM_MAIL = "VACUUM (SKIP_LOCKED, TRUNCATE false, PARALLEL 0) mail";

export const COUNT_DEAD_MAIL = {
  name: "mail-count-dead",
  text: `
SELECT pg_stat_get_dead_tuples('mail'::regclass)::float8 AS dead,
  pg_stat_get_last_vacuum_time('mail'::regclass)::text AS vacuumed_at`,
};
