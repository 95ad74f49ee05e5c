-- breaking: no, only new tables

-- How far the audit log has been examined, and the number of the last change of an alert. Whoever changes alerts holds the
-- row, so changes are numbered in the order of their commits.
CREATE TABLE anomaly_state (
  singleton boolean NOT NULL DEFAULT true,
  next_leaf bigint NOT NULL DEFAULT 0,
  revision bigint NOT NULL DEFAULT 0,
  CONSTRAINT anomaly_state_pkey PRIMARY KEY (singleton),
  CONSTRAINT anomaly_state_one_row CHECK (singleton)
);
INSERT INTO anomaly_state DEFAULT VALUES;

CREATE TABLE anomaly_alerts (
  alert_id text NOT NULL,
  revision bigint NOT NULL,
  subject text NOT NULL,
  detector text NOT NULL,
  severity smallint NOT NULL,
  namespace text NOT NULL,
  principal_id text NOT NULL,
  evidence jsonb NOT NULL,
  first_at timestamptz NOT NULL,
  last_at timestamptz NOT NULL,
  first_leaf bigint NOT NULL,
  last_leaf bigint NOT NULL,
  findings integer NOT NULL,
  acknowledged_at timestamptz,
  acknowledged_by text,
  note text,
  CONSTRAINT anomaly_alerts_pkey PRIMARY KEY (alert_id)
);
CREATE UNIQUE INDEX anomaly_alerts_by_revision ON anomaly_alerts (revision);
CREATE INDEX anomaly_alerts_open_by_subject ON anomaly_alerts (subject) WHERE acknowledged_at IS NULL;

-- Keys that a principal used and hosts that it called from, a few of each.
CREATE TABLE anomaly_known (
  namespace text NOT NULL,
  principal_id text NOT NULL,
  what text NOT NULL,
  value text NOT NULL,
  first_at timestamptz NOT NULL,
  last_at timestamptz NOT NULL,
  CONSTRAINT anomaly_known_pkey PRIMARY KEY (namespace, principal_id, what, value)
);
