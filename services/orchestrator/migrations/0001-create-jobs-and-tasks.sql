-- breaking: no (first migration)
-- Jobs, tasks and their edges. Specs never change and live apart from the narrow rows that do.

CREATE TYPE job_state AS ENUM ('PENDING', 'PLANNING', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED');
CREATE TYPE task_state AS ENUM
  ('BLOCKED', 'READY', 'LEASED', 'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELLED', 'SKIPPED');

-- Who may write. Every writing transaction holds the row of its shard with FOR SHARE, so a new owner, which updates
-- the row, waits for the transactions of the old one and makes all later ones fail.
CREATE TABLE shard_owners (
  shard smallint NOT NULL,
  owner text NOT NULL,
  epoch bigint NOT NULL,
  taken_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT shard_owners_pkey PRIMARY KEY (shard)
);

CREATE TABLE jobs (
  job_id uuid NOT NULL,
  shard smallint NOT NULL,
  namespace text NOT NULL,
  principal_id text NOT NULL,
  objective text NOT NULL,
  priority smallint NOT NULL,
  labels jsonb NOT NULL,
  traceparent text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  -- From here on mutable.
  state job_state NOT NULL,
  total integer NOT NULL,
  blocked integer NOT NULL,
  ready integer NOT NULL,
  active integer NOT NULL DEFAULT 0,
  succeeded integer NOT NULL DEFAULT 0,
  failed integer NOT NULL DEFAULT 0,
  cancelled integer NOT NULL DEFAULT 0,
  skipped integer NOT NULL DEFAULT 0,
  plan_summary text NOT NULL DEFAULT '',
  failure_reason text,
  failure_message text,
  failure_task_key text,
  started_at timestamptz,
  ended_at timestamptz,
  CONSTRAINT jobs_pkey PRIMARY KEY (job_id),
  CONSTRAINT jobs_counts_add_up CHECK (
    total = blocked + ready + active + succeeded + failed + cancelled + skipped
    AND least(blocked, ready, active, succeeded, failed, cancelled, skipped) >= 0
  )
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 1);

-- Counters change with every flush, so no index may name them; these two change once in a job's life at most.
CREATE INDEX jobs_newest ON jobs (namespace, created_at DESC, job_id DESC);
CREATE INDEX jobs_open ON jobs (shard, job_id) WHERE ended_at IS NULL;
CREATE INDEX jobs_labels ON jobs USING gin (labels jsonb_path_ops) WHERE labels <> '{}';

CREATE TABLE tasks (
  task_id uuid NOT NULL,
  job_id uuid NOT NULL,
  shard smallint NOT NULL,
  namespace text NOT NULL,
  ordinal integer NOT NULL,
  task_key text NOT NULL,
  capability text NOT NULL,
  -- Its own priority plus the job's.
  priority smallint NOT NULL,
  planning boolean NOT NULL,
  -- No other task depends on it: its output is a result of the job.
  sink boolean NOT NULL,
  has_upstream boolean NOT NULL,
  -- The rest of the spec: ranges, labels, dependencies, retry policy, timeouts.
  spec json NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT tasks_pkey PRIMARY KEY (task_id)
);
CREATE UNIQUE INDEX tasks_of_job ON tasks (job_id, ordinal);

-- The mutable row of a task. No index but its key, so that every update is a heap-only one.
CREATE TABLE task_states (
  task_id uuid NOT NULL,
  job_id uuid NOT NULL,
  state task_state NOT NULL,
  -- Edges whose parent has not succeeded yet.
  pending integer NOT NULL,
  attempts integer NOT NULL DEFAULT 0,
  charged integer NOT NULL DEFAULT 0,
  -- Of the live lease; 0 when there is none.
  fence bigint NOT NULL DEFAULT 0,
  agent_id text NOT NULL DEFAULT '',
  ready_at timestamptz,
  leased_at timestamptz,
  started_at timestamptz,
  ended_at timestamptz,
  failure_reason text,
  failure_message text,
  failure_task_key text,
  CONSTRAINT task_states_pkey PRIMARY KEY (task_id)
) WITH (
  fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 1, autovacuum_vacuum_cost_limit = 1000
);

CREATE TABLE edges (
  child_id uuid NOT NULL,
  ordinal integer NOT NULL,
  parent_id uuid NOT NULL,
  -- Empty: the edge only orders.
  input_name text NOT NULL,
  CONSTRAINT edges_pkey PRIMARY KEY (child_id, ordinal)
);
CREATE INDEX edges_from ON edges (parent_id);

-- Payloads are stored out of line and as they are: most are small, and compressing the rest costs more than it saves.
CREATE TABLE task_inputs (
  task_id uuid NOT NULL,
  content_type text NOT NULL,
  data bytea NOT NULL,
  CONSTRAINT task_inputs_pkey PRIMARY KEY (task_id)
);
ALTER TABLE task_inputs ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE TABLE task_outputs (
  task_id uuid NOT NULL,
  content_type text NOT NULL,
  data bytea NOT NULL,
  CONSTRAINT task_outputs_pkey PRIMARY KEY (task_id)
);
ALTER TABLE task_outputs ALTER COLUMN data SET STORAGE EXTERNAL;

-- Idempotency of mutations, kept for 24 hours.
CREATE TABLE requests (
  namespace text NOT NULL,
  principal_id text NOT NULL,
  request_id text NOT NULL,
  method text NOT NULL,
  body_hash bytea NOT NULL,
  job_id uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT requests_pkey PRIMARY KEY (namespace, principal_id, request_id)
);
CREATE INDEX requests_by_age ON requests (created_at);
