-- breaking: no, only new tables

-- The witness's own key, made at its first start unless the deployment gives one. Whoever reads it can cosign, not sign.
CREATE TABLE witness_keys (
  singleton boolean NOT NULL DEFAULT true,
  seed bytea NOT NULL,
  CONSTRAINT witness_keys_pkey PRIMARY KEY (singleton),
  CONSTRAINT witness_keys_one_row CHECK (singleton)
);

-- Logs, each with the key that it had when it was first seen, and why its checkpoints are refused, if they are.
CREATE TABLE witness_logs (
  origin text NOT NULL,
  log_key text NOT NULL,
  refusal text,
  refused_at timestamptz,
  CONSTRAINT witness_logs_pkey PRIMARY KEY (origin)
);

-- Checkpoints that were found to go on from the one before.
CREATE TABLE witness_checkpoints (
  origin text NOT NULL,
  tree_size bigint NOT NULL,
  root bytea NOT NULL,
  note text NOT NULL,
  seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT witness_checkpoints_pkey PRIMARY KEY (origin, tree_size),
  CONSTRAINT witness_checkpoints_of_log FOREIGN KEY (origin) REFERENCES witness_logs (origin)
);
CREATE INDEX witness_checkpoints_by_time ON witness_checkpoints (seen_at);
