-- breaking: no, versions before leave the time out, and such a name stays burnt as it did with them

-- A destroyed key keeps its name for a while, so that it is not taken for another one; then its rows go.
ALTER TABLE named_keys ADD COLUMN destroyed_at timestamptz;
UPDATE named_keys SET destroyed_at = clock_timestamp() WHERE state = 'destroyed';
CREATE INDEX named_keys_destroyed_at_idx ON named_keys (destroyed_at) WHERE destroyed_at IS NOT NULL;
