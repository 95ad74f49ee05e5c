-- breaking: no. Sums of samples, so that a question about a month reads a hundred rows and not a hundred million.

-- One row for each length of time (minute, hour, day, in UTC) and each agent with each capability, each agent with all of
-- them (capability empty) and each capability with all agents (agent empty). The sketches are encoded by the service.
CREATE TABLE task_rollups (
  namespace text NOT NULL,
  width text NOT NULL,
  bucket timestamptz NOT NULL,
  agent_id text NOT NULL,
  capability text NOT NULL,
  attempts bigint NOT NULL,
  succeeded bigint NOT NULL,
  failures jsonb NOT NULL,
  queue_sketch bytea NOT NULL,
  run_sketch bytea NOT NULL,
  CONSTRAINT task_rollups_key PRIMARY KEY (namespace, width, capability, agent_id, bucket),
  CONSTRAINT task_rollups_width CHECK (width IN ('minute', 'hour', 'day'))
) PARTITION BY RANGE (bucket);

CREATE INDEX task_rollups_by_agent ON task_rollups (namespace, width, agent_id, capability, bucket);

-- One row: every sample up to this one is in the rollups, and none behind it.
CREATE TABLE rollup_state (
  singleton boolean NOT NULL DEFAULT true,
  rolled_through bigint NOT NULL,
  CONSTRAINT rollup_state_key PRIMARY KEY (singleton),
  CONSTRAINT rollup_state_singleton CHECK (singleton)
);
INSERT INTO rollup_state (rolled_through) VALUES (0);
