-- breaking: yes (the version before claims into a table that is a view now: stop it before this one starts)
-- A running task has its lease in its own row, and a task that ended its last attempt: claim and end change one row in place, where
-- they moved rows between three tables. Attempts that another one followed are rows of their own, as before.

ALTER TABLE task_states
  -- Of the last lease. A lease is live while `fence` is not 0.
  ADD COLUMN agent_epoch bigint,
  ADD COLUMN capability_version text,
  ADD COLUMN deadline_at timestamptz,
  -- The routing decision.
  ADD COLUMN decision json,
  -- Of the attempt with which the task ended; null while it can go on, and when it ended without one.
  ADD COLUMN last_fence bigint,
  ADD COLUMN outcome text,
  ADD COLUMN word text,
  ADD COLUMN last_charged boolean;

UPDATE task_states s
   SET agent_epoch = l.agent_epoch, capability_version = l.capability_version, deadline_at = l.deadline_at,
       decision = l.decision
  FROM leases l
 WHERE l.task_id = s.task_id AND l.fence = s.fence;
DROP TABLE leases;

ALTER TABLE task_states ADD CONSTRAINT task_states_outcome CHECK (
  outcome IS NULL
  OR (outcome IN ('SUCCEEDED', 'FAILED', 'CANCELLED', 'LOST', 'RELEASED') AND word IN ('COMPLETED', 'FAILED', 'RELEASED', '')
      AND num_nulls(last_fence, last_charged, decision, ended_at) = 0 AND fence = 0)
);
-- A row doubles when it is leased, and is written once more when it ends: room for both in its page, so that no index is touched.
ALTER TABLE task_states SET (fillfactor = 25);

-- The last attempts of tasks that had ended by now stay where they are.
ALTER TABLE attempts RENAME TO past_attempts;
ALTER TABLE past_attempts RENAME CONSTRAINT attempts_pkey TO past_attempts_pkey;
ALTER TABLE past_attempts RENAME CONSTRAINT attempts_outcome TO past_attempts_outcome;
ALTER TABLE past_attempts RENAME CONSTRAINT attempts_word TO past_attempts_word;

-- Under their old names both can still be read: live leases, and ended attempts.
CREATE VIEW leases AS
SELECT task_id, (get_byte(uuid_send(job_id), 15) & 63)::smallint AS shard, job_id, fence, agent_id, agent_epoch,
       attempts AS attempt, capability_version, ready_at, leased_at, deadline_at, decision
  FROM task_states WHERE fence <> 0;
CREATE VIEW attempts AS
SELECT task_id, attempt, fence, agent_id, agent_epoch, leased_at, started_at, ended_at, outcome, word, charged,
       failure_reason, failure_message, decision
  FROM past_attempts
 UNION ALL
SELECT task_id, attempts, last_fence, agent_id, agent_epoch, leased_at, started_at, ended_at, outcome, word, last_charged,
       failure_reason, failure_message, decision
  FROM task_states WHERE outcome IS NOT NULL;
