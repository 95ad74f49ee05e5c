-- breaking: no. The first tables: agents and what is known of them.

-- Record revisions are drawn from one sequence, so that a revision never comes back when an agent is removed and
-- registered again under the same id.
CREATE SEQUENCE record_revisions;

CREATE TABLE agents (
  namespace text NOT NULL,
  agent_id text NOT NULL,
  display_name text NOT NULL,
  labels jsonb NOT NULL,
  region text NOT NULL,
  slots integer NOT NULL,
  ttl_ms bigint NOT NULL,
  -- Of everything the caller chose. A registration that repeats it changes no revision and rewrites no capability.
  content_hash bytea NOT NULL,
  -- Upper estimate on the wire, so that a page can be cut without reading what does not fit.
  size_bytes integer NOT NULL,
  revision bigint NOT NULL,
  registered_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  -- Later of registration and the last time the record was found live after expiry, plus the ttl. The record is removed
  -- when both this and the last presence plus the ttl have passed.
  expires_at timestamptz NOT NULL,
  CONSTRAINT agents_key PRIMARY KEY (namespace, agent_id)
);
CREATE INDEX agents_by_expiry ON agents (expires_at);

CREATE TABLE capabilities (
  namespace text NOT NULL,
  agent_id text NOT NULL,
  name text NOT NULL,
  version text NOT NULL,
  -- The caller's order.
  position integer NOT NULL,
  description text NOT NULL,
  input_schema text NOT NULL,
  output_schema text NOT NULL,
  tags text[] NOT NULL,
  cost_micros bigint NOT NULL,
  latency_hint_us bigint,
  CONSTRAINT capabilities_key PRIMARY KEY (namespace, agent_id, name, version),
  CONSTRAINT capabilities_agent FOREIGN KEY (namespace, agent_id) REFERENCES agents ON DELETE CASCADE
);
CREATE INDEX capabilities_by_name ON capabilities (namespace, name, agent_id);

-- One narrow row an agent, updated every few seconds while it is connected. Nothing but the key is indexed and pages are
-- left partly empty, so a renewal is a heap-only update that touches no index.
CREATE TABLE presence (
  namespace text NOT NULL,
  agent_id text NOT NULL,
  epoch bigint NOT NULL,
  state text NOT NULL,
  slots integer NOT NULL,
  busy_slots integer NOT NULL,
  router_id text NOT NULL,
  seen_at timestamptz NOT NULL,
  CONSTRAINT presence_key PRIMARY KEY (namespace, agent_id),
  CONSTRAINT presence_state CHECK (state IN ('ONLINE', 'BUSY', 'DRAINING', 'OFFLINE', 'LOST')),
  CONSTRAINT presence_agent FOREIGN KEY (namespace, agent_id) REFERENCES agents ON DELETE CASCADE
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

-- Weights are as of updated_at; a reader decays them to its own time.
CREATE TABLE reputations (
  namespace text NOT NULL,
  agent_id text NOT NULL,
  capability text NOT NULL,
  success_weight double precision NOT NULL,
  failure_weight double precision NOT NULL,
  succeeded bigint NOT NULL,
  failed bigint NOT NULL,
  mean_latency_ms double precision,
  last_cause text NOT NULL,
  updated_at timestamptz NOT NULL,
  CONSTRAINT reputations_key PRIMARY KEY (namespace, agent_id, capability),
  CONSTRAINT reputations_agent FOREIGN KEY (namespace, agent_id) REFERENCES agents ON DELETE CASCADE
) WITH (fillfactor = 70);
