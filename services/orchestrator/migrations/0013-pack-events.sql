-- breaking: yes (the version before writes an event a row: stop it before this one starts)
-- The changes of one job that one transaction makes are one row: a fifth of the rows and index entries of a busy job.

CREATE TABLE job_events (
  -- Assigned by the owner's transactions, one after the other, so that their order is the order of commits.
  sequence bigint NOT NULL DEFAULT nextval('event_seq'),
  job_id uuid NOT NULL,
  -- How many changes, 1 to 512. The number of change i, from 0, is 512 * sequence + i.
  events integer NOT NULL,
  -- A list of {task, key, state, attempt, agent, reason, message, cause}; without a task it is the job's own change.
  changes json NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT job_events_events CHECK (events BETWEEN 1 AND 512)
) PARTITION BY RANGE (created_at);
CREATE INDEX job_events_of_job ON job_events (job_id, sequence);
-- Only catches what a late keeper of partitions would lose, and is empty otherwise.
CREATE TABLE job_events_default PARTITION OF job_events DEFAULT;

-- The days that have events already, under the names that the keeper gives.
DO $$
DECLARE
  day date;
BEGIN
  FOR day IN SELECT DISTINCT (created_at AT TIME ZONE 'UTC')::date FROM task_events LOOP
    EXECUTE format('CREATE TABLE %I PARTITION OF job_events FOR VALUES FROM (%L) TO (%L)',
      'job_events_' || to_char(day, 'YYYYMMDD'),
      day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
  END LOOP;
END $$;

INSERT INTO job_events (sequence, job_id, events, changes, created_at)
SELECT e.sequence, e.job_id, 1,
       json_build_array(json_strip_nulls(json_build_object(
         'task', 'task_' || replace(e.task_id::text, '-', ''), 'key', t.task_key, 'state', e.state,
         'attempt', nullif(e.attempt, 0), 'agent', nullif(e.agent_id, ''),
         'reason', e.failure_reason, 'message', e.failure_message, 'cause', e.failure_task_key))),
       e.created_at
  FROM task_events e LEFT JOIN tasks t ON t.task_id = e.task_id;
DROP TABLE task_events;

-- For people: one row a change, as they were stored before.
CREATE VIEW task_events AS
SELECT 512 * e.sequence + c.position - 1 AS sequence, e.job_id,
       substr(c.change ->> 'task', 6)::uuid AS task_id, c.change ->> 'key' AS task_key,
       c.change ->> 'state' AS state, coalesce((c.change ->> 'attempt')::integer, 0) AS attempt,
       coalesce(c.change ->> 'agent', '') AS agent_id, c.change ->> 'reason' AS failure_reason,
       c.change ->> 'message' AS failure_message, c.change ->> 'cause' AS failure_task_key, e.created_at
  FROM job_events e, json_array_elements(e.changes) WITH ORDINALITY AS c(change, position);
