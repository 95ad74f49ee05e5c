-- breaking: no
-- What happened, append-only, and what other services still have to hear.

-- Assigned by the owner's transactions, one after the other, so that the order of numbers is the order of commits.
CREATE SEQUENCE event_seq AS bigint;

-- One partition a day, made ahead and dropped by the partition keeper. The default one only catches what a late keeper
-- would lose, and is empty otherwise.
CREATE TABLE task_events (
  sequence bigint NOT NULL DEFAULT nextval('event_seq'),
  job_id uuid NOT NULL,
  -- Null for an event of the job itself.
  task_id uuid,
  -- A job_state or a task_state.
  state text NOT NULL,
  attempt integer NOT NULL,
  agent_id text NOT NULL,
  failure_reason text,
  failure_message text,
  failure_task_key text,
  created_at timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (created_at);
CREATE INDEX task_events_of_job ON task_events (job_id, sequence);
CREATE TABLE task_events_default PARTITION OF task_events DEFAULT;

-- Ends of attempts for registry and insight. Deleted when both have acknowledged them.
CREATE TABLE outbox (
  id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  namespace text NOT NULL,
  job_id uuid NOT NULL,
  task_id uuid NOT NULL,
  fence bigint NOT NULL,
  agent_id text NOT NULL,
  capability text NOT NULL,
  attempt integer NOT NULL,
  success boolean NOT NULL,
  reason text NOT NULL,
  ready_at timestamptz NOT NULL,
  leased_at timestamptz NOT NULL,
  started_at timestamptz,
  ended_at timestamptz NOT NULL,
  CONSTRAINT outbox_pkey PRIMARY KEY (id)
) WITH (
  autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 1, autovacuum_vacuum_cost_limit = 1000
);
