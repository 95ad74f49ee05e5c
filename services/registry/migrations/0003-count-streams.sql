-- breaking: yes (the version before remembers single outcomes and finds no such table: stop it before this one starts)
-- Which outcomes were counted, as one number for each stream of them: docs/adr/0009-outcome-streams.md.
DROP TABLE outcomes_seen;
DROP FUNCTION create_day_partitions(text, integer);
DROP FUNCTION drop_day_partitions(text, interval);

-- A row is locked by whoever counts groups of its stream, from before it is read until the commit.
CREATE TABLE outcome_streams (
  -- One start of one orchestrator process.
  stream text NOT NULL,
  -- Groups up to this one are counted.
  position bigint NOT NULL,
  -- The position before the last call: the statement that moves the position on tells where it stood.
  previous bigint NOT NULL,
  heard_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT outcome_streams_key PRIMARY KEY (stream)
) WITH (fillfactor = 50);
