-- breaking: no; first tables of the service.

-- Samples are numbered in the order of their commits: whoever stores some holds an advisory lock from before the numbers are
-- drawn until its commit, so a reader that has seen a number has seen all lower ones.
CREATE SEQUENCE sample_sequence;

-- One row an attempt, kept for the retention and dropped by the day. Durations in microseconds; null: not measured.
CREATE TABLE task_samples (
  sequence bigint NOT NULL DEFAULT nextval('sample_sequence'),
  namespace text NOT NULL,
  measured_at timestamptz NOT NULL,
  job_id text NOT NULL,
  task_id text NOT NULL,
  capability text NOT NULL,
  agent_id text NOT NULL,
  attempt integer NOT NULL,
  success boolean NOT NULL,
  reason text NOT NULL,
  queue_us bigint,
  run_us bigint
) PARTITION BY RANGE (measured_at);

CREATE INDEX task_samples_by_sequence ON task_samples (sequence);
CREATE INDEX task_samples_by_time ON task_samples (namespace, measured_at);
CREATE INDEX task_samples_by_job ON task_samples (namespace, job_id);

-- Which samples were stored, by the day of arrival; a day that is over is dropped whole. A unique index over partitions would
-- need the time in its key, and then the same id on another day would count twice: the advisory lock takes its place.
CREATE TABLE sample_keys (
  namespace text NOT NULL,
  sample_id text NOT NULL,
  seen_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT sample_keys_key PRIMARY KEY (namespace, sample_id, seen_at)
) PARTITION BY RANGE (seen_at);

-- Creates the partitions of a table from some days back (UTC) up to some days ahead; existing ones stay.
CREATE FUNCTION create_day_partitions(parent text, days_back integer, days_ahead integer) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
  created integer := 0;
  starts_at timestamptz;
  partition text;
BEGIN
  FOR offset_days IN -days_back .. days_ahead LOOP
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
