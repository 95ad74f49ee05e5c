-- breaking: no; first tables of the service.

-- One row an attempt, kept for the retention and dropped by the day. Durations in microseconds; null: not measured.
CREATE TABLE task_samples (
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

CREATE INDEX task_samples_by_agent ON task_samples (namespace, agent_id, measured_at);
CREATE INDEX task_samples_by_capability ON task_samples (namespace, capability, measured_at);
CREATE INDEX task_samples_by_job ON task_samples (namespace, job_id);

-- Which samples were counted: a unique index over partitions would need the time in its key, and then the same id
-- with another time would count twice. Pruned after a day.
CREATE TABLE sample_keys (
  namespace text NOT NULL,
  sample_id text NOT NULL,
  seen_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT sample_keys_pkey PRIMARY KEY (namespace, sample_id)
);

CREATE INDEX sample_keys_by_age ON sample_keys (seen_at);

-- Creates the partitions of task_samples from yesterday (UTC), which late samples need, up to some days ahead.
CREATE FUNCTION create_sample_partitions(days_ahead integer) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
  created integer := 0;
  starts_at timestamptz;
  partition text;
BEGIN
  FOR day IN -1 .. days_ahead LOOP
    starts_at := date_trunc('day', now(), 'UTC') + make_interval(days => day);
    partition := 'task_samples' || to_char(starts_at AT TIME ZONE 'UTC', '"_"YYYYMMDD');
    IF to_regclass(partition) IS NULL THEN
      EXECUTE format('CREATE TABLE IF NOT EXISTS %I PARTITION OF task_samples FOR VALUES FROM (%L) TO (%L)',
        partition, starts_at, starts_at + interval '1 day');
      created := created + 1;
    END IF;
  END LOOP;
  RETURN created;
END $$;

-- Drops the partitions of task_samples whose day ended longer ago than `kept`.
CREATE FUNCTION drop_sample_partitions(kept interval) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
  dropped integer := 0;
  partition text;
BEGIN
  FOR partition IN
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'task_samples'::regclass
      AND to_timestamp(right(c.relname, 8) || ' UTC', 'YYYYMMDD TZ') + interval '1 day' < now() - kept
  LOOP
    EXECUTE format('DROP TABLE %I', partition);
    dropped := dropped + 1;
  END LOOP;
  RETURN dropped;
END $$;
