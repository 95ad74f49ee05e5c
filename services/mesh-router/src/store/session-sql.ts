/** The statements of session-store. Each takes a whole batch; time is the database's. */

/** Presented resume hashes are compared outside, in constant time; this fetches what they are compared with. */
export const SELECT_RESUMABLE = `
SELECT s.namespace, s.agent_id, s.epoch, s.session_id, s.resume_hash
FROM sessions s
JOIN unnest($1::text[], $2::text[]) AS t(namespace, agent_id) USING (namespace, agent_id)
LEFT JOIN routers r USING (router_id)
WHERE s.live
  AND COALESCE(s.expires_at, r.renewed_at + $3 * interval '1 millisecond') > now()`;

/** Only the rows that are still as they were read are claimed. */
export const CLAIM_RESUMED = `
UPDATE sessions s
SET router_id = $2, expires_at = NULL
FROM unnest($1::text[]) AS t(session_id)
WHERE s.session_id = t.session_id AND s.live
RETURNING s.session_id`;

/** Begins the next epochs, in one order for all replicas, so that two batches cannot deadlock. Epochs come from one sequence: an agent
 * whose row was removed cannot get one again that it had. Where a version without it went on by one, its count stands. */
export const OPEN_NEXT = `
WITH input AS (
  SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::int[])
    AS t(namespace, agent_id, session_id, resume_hash, slots)
), before AS (
  SELECT s.namespace, s.agent_id, s.epoch
  FROM sessions s JOIN input USING (namespace, agent_id)
  WHERE s.live
), opened AS (
  INSERT INTO sessions AS s (namespace, agent_id, epoch, session_id, router_id, resume_hash,
    slots, live, expires_at, opened_at)
  SELECT namespace, agent_id, nextval('session_epochs'), session_id, $6, resume_hash, slots, true, NULL, now()
  FROM input
  ORDER BY namespace, agent_id
  ON CONFLICT (namespace, agent_id) DO UPDATE SET
    epoch = GREATEST(s.epoch + 1, nextval('session_epochs')),
    session_id = excluded.session_id,
    router_id = excluded.router_id,
    resume_hash = excluded.resume_hash,
    slots = excluded.slots,
    live = true,
    expires_at = NULL,
    opened_at = now()
  RETURNING s.session_id, s.namespace, s.agent_id, s.epoch
)
SELECT o.session_id, o.epoch, b.epoch AS superseded_epoch
FROM opened o LEFT JOIN before b USING (namespace, agent_id)`;

/** A session that another replica resumed is not this one's to end. */
export const END_SESSIONS = `
UPDATE sessions s
SET live = false, expires_at = NULL, left_at = now()
FROM unnest($1::text[]) AS t(session_id)
WHERE s.session_id = t.session_id AND s.live AND s.router_id = $2
RETURNING s.session_id`;

/** A session with a stream is this replica's, whoever had it before; one without a stream only if it still is. */
export const SETTLE_STANDINGS = `
UPDATE sessions s
SET router_id = $3,
    expires_at = CASE WHEN t.expires_in_ms IS NULL THEN NULL
      ELSE now() + t.expires_in_ms * interval '1 millisecond' END
FROM unnest($1::text[], $2::int[]) AS t(session_id, expires_in_ms)
WHERE s.session_id = t.session_id AND s.live
  AND (t.expires_in_ms IS NULL OR s.router_id = $3)`;

/** Agents could not come back while the replica was down, so each gets the whole grace from now. */
export const LOAD_SURVIVORS = `
UPDATE sessions
SET expires_at = GREATEST(expires_at, now() + $2 * interval '1 millisecond')
WHERE live AND router_id = $1
RETURNING namespace, agent_id, epoch, session_id, resume_hash, slots,
  (extract(epoch FROM expires_at - now()) * 1000)::int AS remaining_ms`;

/** A live replica ends its own; this is for those of replicas that stopped renewing themselves. */
export const END_ORPHANS = `
UPDATE sessions s
SET live = false, expires_at = NULL, left_at = now()
FROM routers r
WHERE s.live AND s.router_id = r.router_id AND r.router_id <> $1
  AND r.renewed_at + $2 * interval '1 millisecond' < now()
  AND COALESCE(s.expires_at, now()) <= now()
RETURNING s.namespace, s.agent_id, s.epoch`;

/** Replicas come and go under new names; a day after its end nothing refers to one any more. */
export const FORGET_ROUTERS = `
DELETE FROM routers r
WHERE r.renewed_at < now() - interval '1 day'
  AND NOT EXISTS (SELECT FROM sessions s WHERE s.live AND s.router_id = r.router_id)`;

export const RENEW_ROUTER = `
INSERT INTO routers (router_id, renewed_at) VALUES ($1, now())
ON CONFLICT (router_id) DO UPDATE SET renewed_at = now()`;

/** Which replica has whose session. */
export const LOCATE_SESSIONS = `
SELECT s.namespace, s.agent_id, s.router_id, s.epoch
FROM sessions s
JOIN unnest($1::text[], $2::text[]) AS t(namespace, agent_id) USING (namespace, agent_id)
WHERE s.live AND (s.expires_at IS NULL OR s.expires_at > now())`;
