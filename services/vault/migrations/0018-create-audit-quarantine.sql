-- breaking: no, only a new table

-- Entries of other services that could not be taken as they are. In the log an entry with their digest stands for each; here are
-- their bytes, for whoever finds out how they came about. Safe to empty: the log has what counts.
CREATE TABLE audit_quarantine (
  service text NOT NULL,
  stream text NOT NULL,
  position bigint NOT NULL,
  problem text NOT NULL,
  draft bytea NOT NULL,
  quarantined_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT audit_quarantine_pkey PRIMARY KEY (service, stream, position)
);
