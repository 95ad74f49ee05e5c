-- breaking: no
-- Until when a task may take in all (schedule_to_close), for those that say so. Apart from ready and leases, because it
-- outlives both: a retry moves the task between them and leaves this as it is. Rows of ended tasks go when they are due.

CREATE TABLE task_closings (
  task_id uuid NOT NULL,
  shard smallint NOT NULL,
  close_by timestamptz NOT NULL,
  CONSTRAINT task_closings_pkey PRIMARY KEY (task_id)
);
CREATE INDEX task_closings_due ON task_closings (close_by);
