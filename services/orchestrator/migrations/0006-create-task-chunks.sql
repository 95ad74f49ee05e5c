-- breaking: no
-- What running tasks put out, so that a watcher can go on after a broken stream or a restart. Written in batches and
-- without waiting for the disk: losing the last moment of it in a crash is a gap that is said, not lost work.

-- One partition a day, made ahead and dropped by the partition keeper, as for task_events.
CREATE TABLE task_chunks (
  task_id uuid NOT NULL,
  fence bigint NOT NULL,
  sequence bigint NOT NULL,
  -- Null: from here to the next row nothing was kept.
  data bytea,
  created_at timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (created_at);
CREATE INDEX task_chunks_of_attempt ON task_chunks (task_id, fence, sequence);
CREATE TABLE task_chunks_default PARTITION OF task_chunks DEFAULT;
