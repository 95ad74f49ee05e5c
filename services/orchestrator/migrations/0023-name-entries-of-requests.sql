-- breaking: no
-- The audit entry of the call that made a request's change: a call that looks again, because it did not learn whether its COMMIT
-- was made, knows by it that what it finds is its own.

ALTER TABLE requests ADD COLUMN entry_id uuid;
