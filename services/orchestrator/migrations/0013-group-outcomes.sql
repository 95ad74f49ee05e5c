-- breaking: yes (the version before writes a row for each outcome and finds no such table: stop it before this one starts; outcomes
-- that registry or insight had not acknowledged by then are dropped)
-- One row for what one transaction ended, as registry and insight are told of it: docs/adr/0009-outcome-streams.md.
DROP TABLE outbox;

CREATE TABLE outbox (
  -- The replica's id: one for each start of a process.
  stream text NOT NULL,
  -- How many outcomes the stream has, with these: in the order of commits, since a replica's transactions run one at a time.
  position bigint NOT NULL,
  outcomes integer NOT NULL,
  -- An encoded nexus.common.v1.OutcomeGroup.
  data bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT outbox_pkey PRIMARY KEY (stream, position)
) WITH (
  -- Rows live for a fraction of a second: up to a page they stay where they are, and no time goes into making them smaller.
  toast_tuple_target = 8160,
  autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 1, autovacuum_vacuum_cost_limit = 1000
);
ALTER TABLE outbox ALTER COLUMN data SET STORAGE EXTERNAL;
