-- breaking: no (a version that runs beside this one fails tasks without a row here; they can still be read and run again)
-- Tasks that failed for good, to be looked through and run again. Written in the transaction that fails the task.

CREATE TABLE dead_letters (
  task_id uuid NOT NULL,
  job_id uuid NOT NULL,
  namespace text NOT NULL,
  task_key text NOT NULL,
  capability text NOT NULL,
  -- Who had it last; empty when it was never leased.
  agent_id text NOT NULL,
  attempts integer NOT NULL,
  reason text NOT NULL,
  message text NOT NULL,
  failed_at timestamptz NOT NULL,
  -- Set once, together: the job that holds the task now, who asked for it, and by which request.
  redriven_at timestamptz,
  redriven_job_id uuid,
  redriven_by text,
  redrive_request_id text,
  CONSTRAINT dead_letters_pkey PRIMARY KEY (task_id),
  CONSTRAINT dead_letters_redriven_whole CHECK (
    num_nulls(redriven_at, redriven_job_id, redriven_by, redrive_request_id) IN (0, 4)
  )
);
CREATE INDEX dead_letters_by_time ON dead_letters (namespace, failed_at, task_id);
CREATE INDEX dead_letters_by_request ON dead_letters (namespace, redriven_by, redrive_request_id)
  WHERE redriven_at IS NOT NULL;

INSERT INTO dead_letters (task_id, job_id, namespace, task_key, capability, agent_id, attempts, reason, message, failed_at)
SELECT s.task_id, s.job_id, t.namespace, t.task_key, t.capability, s.agent_id, s.attempts,
       coalesce(s.failure_reason, ''), coalesce(s.failure_message, ''), coalesce(s.ended_at, now())
  FROM task_states s JOIN tasks t USING (task_id)
 WHERE s.state = 'FAILED';
