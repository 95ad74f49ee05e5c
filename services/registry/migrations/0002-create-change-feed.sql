-- breaking: no. The change feed, and what makes retries safe.

-- Which part of which agent changed, in the order of the commits: whoever adds rows holds the feed's advisory lock from
-- before the revisions are drawn until its commit, so a reader that has seen a revision has seen all lower ones.
CREATE SEQUENCE change_revisions;

CREATE TABLE agent_changes (
  revision bigint NOT NULL DEFAULT nextval('change_revisions'),
  namespace text NOT NULL,
  agent_id text NOT NULL,
  part text NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT agent_changes_key PRIMARY KEY (revision),
  CONSTRAINT agent_changes_part CHECK (part IN ('record', 'presence', 'reputation'))
);

-- One row. feed_id tells a resume token of another database apart; rows up to pruned_through are gone.
CREATE TABLE feed_state (
  singleton boolean NOT NULL DEFAULT true,
  feed_id uuid NOT NULL,
  pruned_through bigint NOT NULL,
  CONSTRAINT feed_state_key PRIMARY KEY (singleton),
  CONSTRAINT feed_state_singleton CHECK (singleton)
);
INSERT INTO feed_state (feed_id, pruned_through) VALUES (gen_random_uuid(), 0);

-- Adds a line for each agent and returns the last revision. To be called last in a transaction.
--
-- The lock makes revisions visible in their order: they are drawn under it and it is held until the commit, so no lower
-- revision can appear after a higher one was seen. The alternative, readers that stop at the oldest running transaction
-- (pg_snapshot_xmin), would let any long transaction of any database on the server hold up every replica. Taken last, the
-- lock cannot be part of a deadlock. 1314407238 is "NXCF".
CREATE FUNCTION append_agent_changes(namespaces text[], agent_ids text[], part text) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
  last_revision bigint;
BEGIN
  PERFORM pg_advisory_xact_lock(1314407238);
  WITH added AS (
    INSERT INTO agent_changes (namespace, agent_id, part)
    SELECT namespace, agent_id, append_agent_changes.part
    FROM unnest(namespaces, agent_ids) AS t(namespace, agent_id)
    RETURNING revision)
  SELECT max(revision) INTO last_revision FROM added;
  RETURN last_revision;
END $$;

-- Requests that were carried out in the last 24 hours. The answer is not kept: a repeated request is answered with the agent
-- as it is now.
CREATE TABLE requests (
  namespace text NOT NULL,
  principal_id text NOT NULL,
  request_id text NOT NULL,
  fingerprint bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT requests_key PRIMARY KEY (namespace, principal_id, request_id)
);
CREATE INDEX requests_by_age ON requests (created_at);

-- Outcomes that were counted in the last 24 hours, by day of arrival: a day that is over is dropped whole. A unique key
-- could only hold inside one day, so whoever counts outcomes holds an advisory lock and looks through all days.
CREATE TABLE outcomes_seen (
  task_id text NOT NULL,
  fence bigint NOT NULL,
  seen_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT outcomes_seen_key PRIMARY KEY (task_id, fence, seen_at)
) PARTITION BY RANGE (seen_at);

-- Creates the partitions of a table from yesterday (UTC) up to some days ahead; existing ones stay.
CREATE FUNCTION create_day_partitions(parent text, days_ahead integer) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
  created integer := 0;
  starts_at timestamptz;
  partition text;
BEGIN
  FOR offset_days IN -1 .. days_ahead LOOP
    starts_at := date_trunc('day', now(), 'UTC') + make_interval(days => offset_days);
    partition := parent || to_char(starts_at AT TIME ZONE 'UTC', '"_"YYYYMMDD');
    IF to_regclass(partition) IS NULL THEN
      EXECUTE format(
        'CREATE TABLE IF NOT EXISTS %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
        partition, parent, starts_at, starts_at + interval '1 day');
      created := created + 1;
    END IF;
  END LOOP;
  RETURN created;
END $$;

-- Drops the partitions of a table whose day ended longer ago than `kept`.
CREATE FUNCTION drop_day_partitions(parent text, kept interval) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
  dropped integer := 0;
  partition text;
BEGIN
  FOR partition IN
    SELECT child.relname
    FROM pg_inherits
    JOIN pg_class child ON child.oid = inhrelid
    WHERE inhparent = parent::regclass
      AND (to_date(right(child.relname, 8), 'YYYYMMDD') + 1)::timestamp AT TIME ZONE 'UTC' < now() - kept
  LOOP
    EXECUTE format('DROP TABLE %I', partition);
    dropped := dropped + 1;
  END LOOP;
  RETURN dropped;
END $$;

SELECT create_day_partitions('outcomes_seen', 2);
