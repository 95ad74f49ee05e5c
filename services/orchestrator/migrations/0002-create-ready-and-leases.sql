-- breaking: no
-- The two hot tables: a waiting task has a row in ready, a running one in leases, and a claim moves it across.

CREATE SEQUENCE fence_seq AS bigint;

CREATE TABLE ready (
  task_id uuid NOT NULL,
  shard smallint NOT NULL,
  -- In the future while the delay before the next attempt lasts.
  ready_at timestamptz NOT NULL,
  -- After this the task fails with NO_AGENT_IN_TIME.
  start_by timestamptz NOT NULL,
  CONSTRAINT ready_pkey PRIMARY KEY (task_id)
) WITH (
  autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 1, autovacuum_vacuum_cost_limit = 1000
);
CREATE INDEX ready_overdue ON ready (start_by);

CREATE TABLE leases (
  task_id uuid NOT NULL,
  shard smallint NOT NULL,
  job_id uuid NOT NULL,
  -- From fence_seq: grows with every lease of every task, and never with anything else.
  fence bigint NOT NULL,
  namespace text NOT NULL,
  agent_id text NOT NULL,
  agent_epoch bigint NOT NULL,
  attempt integer NOT NULL,
  capability_version text NOT NULL,
  -- When the task became ready for this attempt.
  ready_at timestamptz NOT NULL,
  leased_at timestamptz NOT NULL,
  deadline_at timestamptz NOT NULL,
  -- The routing decision; moves to attempts when the lease ends.
  decision json NOT NULL,
  CONSTRAINT leases_pkey PRIMARY KEY (task_id)
) WITH (
  autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 1, autovacuum_vacuum_cost_limit = 1000
);
CREATE INDEX leases_overdue ON leases (deadline_at);

-- Ended attempts, written once. The running one is the lease itself.
CREATE TABLE attempts (
  task_id uuid NOT NULL,
  attempt integer NOT NULL,
  fence bigint NOT NULL,
  agent_id text NOT NULL,
  agent_epoch bigint NOT NULL,
  leased_at timestamptz NOT NULL,
  started_at timestamptz,
  ended_at timestamptz NOT NULL,
  outcome text NOT NULL,
  -- The agent's terminal word that ended it, so that a repeat of it is told COMMITTED; empty when no word did.
  word text NOT NULL,
  charged boolean NOT NULL,
  failure_reason text,
  failure_message text,
  decision json NOT NULL,
  CONSTRAINT attempts_pkey PRIMARY KEY (task_id, attempt),
  CONSTRAINT attempts_outcome CHECK (outcome IN ('SUCCEEDED', 'FAILED', 'CANCELLED', 'LOST', 'RELEASED')),
  CONSTRAINT attempts_word CHECK (word IN ('COMPLETED', 'FAILED', 'RELEASED', ''))
);
