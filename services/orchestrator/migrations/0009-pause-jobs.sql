-- breaking: no
-- Paused jobs: what could go waits here instead of in ready, so that neither a claim nor a restart hands it out.

ALTER TYPE job_state ADD VALUE 'PAUSED';

CREATE TABLE paused_ready (
  task_id uuid NOT NULL,
  job_id uuid NOT NULL,
  -- What was left, when the clocks stopped, of the delay before the next attempt and of the wait for an agent.
  delay_ms bigint NOT NULL,
  wait_ms bigint NOT NULL,
  CONSTRAINT paused_ready_pkey PRIMARY KEY (task_id)
);
CREATE INDEX paused_ready_of_job ON paused_ready (job_id);
