-- breaking: no, only new tables

-- Entries of the audit log, committed with what they are about, until vault has taken them. A position is given when vault
-- is about to be told.
CREATE TABLE audit_outbox (
  entry_no bigint GENERATED ALWAYS AS IDENTITY,
  draft bytea NOT NULL,
  committed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  position bigint,
  CONSTRAINT audit_outbox_pkey PRIMARY KEY (entry_no)
);
CREATE UNIQUE INDEX audit_outbox_by_position ON audit_outbox (position) WHERE position IS NOT NULL;

-- The name of this outbox for vault, another one for each database, and the last position that was given.
CREATE TABLE audit_stream (
  singleton boolean NOT NULL DEFAULT true,
  stream text NOT NULL DEFAULT gen_random_uuid()::text,
  position bigint NOT NULL DEFAULT 0,
  CONSTRAINT audit_stream_pkey PRIMARY KEY (singleton),
  CONSTRAINT audit_stream_one_row CHECK (singleton)
);
INSERT INTO audit_stream DEFAULT VALUES;
