-- breaking: no; the version before does not say when a session ended: its row counts from this migration, or from when it was made.

-- When the agent's last session ended.
ALTER TABLE sessions ADD COLUMN left_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX sessions_by_leaving ON sessions (left_at) WHERE NOT live;

-- The epochs of all agents: whoever was forgotten and comes back gets one above all that it had.
CREATE SEQUENCE session_epochs;
SELECT setval('session_epochs', max(epoch)) FROM sessions HAVING count(*) > 0;
