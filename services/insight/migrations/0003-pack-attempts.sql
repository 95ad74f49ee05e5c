-- breaking: yes (the version before stores single samples and finds no such tables: stop it before this one starts; jobs that ran
-- before have no figures any more)
-- Attempts packed by call, job and minute, and one number for each stream of outcomes: docs/adr/0009-outcome-streams.md.
DROP TABLE task_samples;
DROP TABLE sample_keys;

-- A row is locked by whoever stores groups of its stream, from before it is read until the commit.
CREATE TABLE outcome_streams (
  -- One start of one orchestrator process.
  stream text NOT NULL,
  -- Groups up to this one are stored.
  position bigint NOT NULL,
  -- The position before the last call: the statement that moves the position on tells where it stood.
  previous bigint NOT NULL,
  heard_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT outcome_streams_key PRIMARY KEY (stream)
) WITH (fillfactor = 50);

-- Numbered in the order of commits, as samples were before: whoever stores some holds an advisory lock from before the numbers are
-- drawn until its commit, so a reader that has seen a number has seen all lower ones. rollup_state names the last one in the sums.
CREATE TABLE attempt_packs (
  sequence bigint NOT NULL DEFAULT nextval('sample_sequence'),
  namespace text NOT NULL,
  -- All its attempts ended within this minute (UTC).
  minute timestamptz NOT NULL,
  job_id text NOT NULL,
  -- Encoded by the service.
  attempts bytea NOT NULL
) PARTITION BY RANGE (minute);

ALTER TABLE attempt_packs ALTER COLUMN attempts SET STORAGE EXTERNAL;
CREATE INDEX attempt_packs_by_sequence ON attempt_packs (sequence);
CREATE INDEX attempt_packs_by_minute ON attempt_packs (namespace, minute, sequence);
CREATE INDEX attempt_packs_by_job ON attempt_packs (job_id, sequence);
