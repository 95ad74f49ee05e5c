-- breaking: no, only a column with a default

-- When entries of a stream came last, so that streams of processes and databases that are gone can be forgotten.
ALTER TABLE audit_streams ADD COLUMN taken_at timestamptz NOT NULL DEFAULT clock_timestamp();
