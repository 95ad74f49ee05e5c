-- breaking: yes (the version before claims from a table that is a view now: stop it before this one starts)
-- A task that waits for an agent has no row but its own: READY is what a task without a state row is, and its claim inserts that row with
-- the lease. One that waits again, or was BLOCKED before, has its row, in state READY (ADR 0037).

-- Nobody moves a task between the steps below.
LOCK TABLE ready, paused_ready, task_states IN ACCESS EXCLUSIVE MODE;

ALTER TABLE task_states
  -- Not null while a paused job withholds the task: what was left, when the clocks stopped, of the delay before its next attempt.
  ADD COLUMN withheld_delay_ms bigint,
  -- How long it may wait for an agent once it is ready, where that is not what its spec says: what was left when its job was paused.
  ADD COLUMN wait_ms bigint;

UPDATE task_states s
   SET ready_at = r.ready_at,
       wait_ms = CASE WHEN r.start_by <> r.ready_at + (t.spec->>'scheduleToStartMs')::bigint * interval '1 millisecond'
                      THEN extract(epoch FROM r.start_by - r.ready_at) * 1000 END
  FROM ready r JOIN tasks t USING (task_id)
 WHERE s.task_id = r.task_id
   AND (s.ready_at IS DISTINCT FROM r.ready_at
        OR r.start_by <> r.ready_at + (t.spec->>'scheduleToStartMs')::bigint * interval '1 millisecond');
DROP TABLE ready;

UPDATE task_states s SET withheld_delay_ms = p.delay_ms, wait_ms = p.wait_ms FROM paused_ready p
 WHERE p.task_id = s.task_id AND s.state = 'READY';
DROP TABLE paused_ready;

ALTER TABLE task_states ADD CONSTRAINT task_states_withheld CHECK (
  withheld_delay_ms IS NULL OR (state = 'READY' AND wait_ms IS NOT NULL)
);

-- Under their old names both can still be read: what may be claimed, and what paused jobs withhold.
CREATE VIEW ready AS
SELECT t.task_id, t.shard, coalesce(s.ready_at, t.created_at) AS ready_at,
       coalesce(s.ready_at, t.created_at)
         + coalesce(s.wait_ms, (t.spec->>'scheduleToStartMs')::bigint) * interval '1 millisecond' AS start_by
  FROM tasks t LEFT JOIN task_states s USING (task_id)
 WHERE s.task_id IS NULL OR (s.state = 'READY' AND s.withheld_delay_ms IS NULL);
CREATE VIEW paused_ready AS
SELECT task_id, job_id, withheld_delay_ms AS delay_ms, wait_ms FROM task_states WHERE withheld_delay_ms IS NOT NULL;
