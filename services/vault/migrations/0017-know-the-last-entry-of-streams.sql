-- breaking: no, only a column that may be NULL

-- A service's database that is an older copy of itself gives positions a second time. Which entry was taken last tells whether
-- what comes with its position is that one again, or another one that was never told.
ALTER TABLE audit_streams ADD COLUMN last_digest bytea;
COMMENT ON COLUMN audit_streams.last_digest IS
  'SHA-256 of the draft at the position. NULL: it was taken before there was this column.';
