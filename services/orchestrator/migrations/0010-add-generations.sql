-- breaking: no
-- A job that is retried or replayed goes on as a new job, which refers to the outputs that it keeps.

ALTER TABLE jobs
  ADD COLUMN generation integer NOT NULL DEFAULT 1,
  -- Null in the first generation.
  ADD COLUMN origin_job_id uuid,
  ADD COLUMN replay_of uuid,
  -- The task from which it is replayed; null for a retry.
  ADD COLUMN replay_from text;

-- Two generations of one origin cannot have one number.
CREATE UNIQUE INDEX jobs_generations ON jobs (origin_job_id, generation) WHERE origin_job_id IS NOT NULL;

-- Where the output of a task is that another generation ran. Never a chain: the source has the output itself.
CREATE TABLE output_refs (
  task_id uuid NOT NULL,
  source_id uuid NOT NULL,
  CONSTRAINT output_refs_pkey PRIMARY KEY (task_id)
);
